"""The sizes of Wan2.1-VACE 1.3B with its text encoder and VAE, and small ones that differ wherever they can."""

from s2v_core.wan.flops import NetSizes

SHARED = {"has_image_input": False, "patch_size": (1, 2, 2), "eps": 1e-6}
DIT = {"in_dim": 16, "out_dim": 16, "freq_dim": 256, "text_dim": 4096}
REAL = NetSizes(
    dit={**SHARED, **DIT, "dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30},
    vace={**SHARED, "vace_layers": tuple(range(0, 30, 2)), "vace_in_dim": 96, "dim": 1536, "num_heads": 12,
          "ffn_dim": 8960},
    text_encoder={"vocab": 256384, "dim": 4096, "dim_attn": 4096, "dim_ffn": 10240, "num_heads": 64, "num_layers": 24,
                  "num_buckets": 32, "shared_pos": False},
    vae={"z_dim": 16, "encoder_dim": 96, "decoder_dim": 96, "encoder_blocks": 2, "decoder_blocks": 3},
)  # fmt: skip
SMALL = NetSizes(
    dit={**REAL.dit, "dim": 48, "ffn_dim": 112, "num_heads": 4, "num_layers": 5, "freq_dim": 32, "text_dim": 24},
    vace={**REAL.vace, "dim": 48, "ffn_dim": 80, "num_heads": 4, "vace_layers": (0, 3)},
    text_encoder={**REAL.text_encoder, "vocab": 64, "dim": 24, "dim_attn": 32, "dim_ffn": 40, "num_heads": 4,
                  "num_layers": 3},
    vae={"z_dim": 16, "encoder_dim": 4, "decoder_dim": 4, "encoder_blocks": 1, "decoder_blocks": 2},
)  # fmt: skip
