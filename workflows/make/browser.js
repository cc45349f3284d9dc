// A person at the browser: takes one JSON command a line, answers with one JSON line. Started by browser.py.
const readline = require("readline");
const fs = require("fs");
const path = require("path");

const [, , url, chromium, width, height] = process.argv;
const { chromium: engine } = require("playwright-core");
let page;
let problems = [];

// What ComfyUI's own scripts call the application, in all supported frontends.
const APP = "(window.app ?? window.comfyAPI?.app?.app)";

const RUN = ['[data-testid="queue-button"]', 'button[aria-label="Run"]', '.queue-button-group button:has-text("Run")'];

async function start() {
  const browser = await engine.launch({
    executablePath: chromium,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  const context = await browser.newContext({ viewport: { width: +width, height: +height } });
  // Nothing leaves this machine.
  await context.route("**/*", (route) => {
    const { hostname, protocol } = new URL(route.request().url());
    return hostname === "127.0.0.1" || ["data:", "blob:"].includes(protocol) ? route.continue() : route.abort();
  });
  page = await context.newPage();
  page.on("pageerror", (error) => problems.push(`error: ${error.message}\n${error.stack}`));
  page.on("console", (message) => {
    const text = message.text();
    const network = /ERR_FAILED|net::|Failed to load resource/.test(text);
    if (message.type() === "error" && !network) problems.push(`console: ${text.slice(0, 300)}`);
  });
  // Otherwise the first visit opens the template browser.
  for (const [key, value] of Object.entries({ "Comfy.TutorialCompleted": true, "Comfy.Release.Status": "skipped" }))
    await page.request.post(`${url}/api/settings/${key}`, { data: JSON.stringify(value),
      headers: { "content-type": "application/json" } });
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(`${APP}?.graph && ${APP}.canvas?.canvas && ${APP}.extensionManager?.command`, null, { timeout: 120000 });
  await page.locator(RUN.join(", ")).first().waitFor({ timeout: 120000 });
  await page.waitForTimeout(1500);
  return browser;
}

// Waits until what is done has put another graph onto the canvas and the page has drawn it; a busy machine takes its time.
async function another(action) {
  const first = `(() => { const graph = ${APP}.graph; return (graph.nodes ?? graph._nodes)[0]; })()`;
  await page.evaluate(`(() => { window.firstNode = ${first}; })()`);
  await action();
  await page.waitForFunction(`(() => { const first = ${first}; return first && first !== window.firstNode; })()`, null,
    { timeout: 60000 });
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.waitForTimeout(1200);
}

const commands = {
  // The versions, for reports.
  async version() {
    return page.evaluate(() => window.__COMFYUI_FRONTEND_VERSION__ ?? "");
  },

  // Chooses a workflow in the template browser as a person does: opens it, writes its name, clicks its card.
  async template({ pack, name }) {
    await page.evaluate(`${APP}.extensionManager.command.execute("Comfy.BrowseTemplates")`);
    const dialog = page.locator("[role=dialog]").filter({ hasText: /template/i }).last();
    await dialog.waitFor({ timeout: 30000 });
    const entry = dialog.getByText(pack, { exact: false }).first();
    await entry.waitFor({ timeout: 30000 });
    await entry.click();
    const card = dialog.getByText(name, { exact: true }).first();
    await card.waitFor({ timeout: 30000 });
    await card.scrollIntoViewIfNeeded();
    return { dialog: true };
  },
  async card({ name }) {
    const dialog = page.locator("[role=dialog]").filter({ hasText: /template/i }).last();
    await another(() => dialog.getByText(name, { exact: true }).first().click());
    await dialog.waitFor({ state: "hidden", timeout: 30000 });
  },

  // Drops a file from the desktop onto the canvas.
  async drop({ file }) {
    const data = fs.readFileSync(file).toString("base64");
    await another(() => page.evaluate(
      async ([data, name, type]) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        const canvas = document.querySelector("#graph-canvas");
        const box = canvas.getBoundingClientRect();
        const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
        for (const kind of ["dragenter", "dragover", "drop"])
          canvas.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer, ...at }));
      },
      [data, path.basename(file), file.endsWith(".json") ? "application/json" : ""],
    ));
  },

  async load({ graph, name }) {
    await page.evaluate(`(async (graph) => { await ${APP}.loadGraphData(graph, true, true, ${JSON.stringify(name)}); })`
      + `(${JSON.stringify(graph)})`);
    await page.waitForTimeout(700);
  },

  // Every node as it stands there. Newer frontends have texts for numbers.
  async nodes() {
    return page.evaluate(`(() => { const app = ${APP}; const known = LiteGraph.registered_node_types;
      return (app.graph.nodes ?? app.graph._nodes).map((node) => ({
        id: Number(node.id), type: node.type, title: node.title, mode: node.mode, missing: !known[node.type],
        red: Boolean(node.has_errors), pos: [...node.pos], size: [...node.size], needs: [...node.computeSize()],
        inputs: (node.inputs ?? []).map((slot) => ({ name: slot.name, label: slot.label ?? slot.localized_name, link: slot.link,
          widget: Boolean(slot.widget) })),
        outputs: (node.outputs ?? []).map((slot) => ({ name: slot.name, links: slot.links?.length ?? 0 })),
        widgets: (node.widgets ?? []).map((w) => ({ name: w.name, label: w.label, type: w.type, hidden: Boolean(w.hidden),
          value: ["string", "number", "boolean"].includes(typeof w.value) ? w.value : null })),
      })); })()`);
  },
  async groups() {
    return page.evaluate(`(${APP}.graph.groups ?? ${APP}.graph._groups).map((g) => ({ title: g.title,
      box: [...g.pos, ...g.size] }))`);
  },

  // Writes values into fields. changes: [[node id, field, value]...]
  async set({ changes }) {
    return page.evaluate(`((changes) => { const app = ${APP}; for (const [id, name, value] of changes) {
      const node = app.graph.getNodeById(id); const widget = node.widgets.find((w) => w.name === name);
      if (!widget) throw new Error("node " + id + " has no field " + name);
      widget.value = value; widget.callback?.(value); } app.graph.setDirtyCanvas(true, true); })(${JSON.stringify(changes)})`);
  },
  async modes({ changes }) {
    return page.evaluate(`((changes) => { for (const [id, mode] of changes) ${APP}.graph.getNodeById(id).mode = mode; })`
      + `(${JSON.stringify(changes)})`);
  },

  // Presses Run and waits for the end.
  async run({ timeout }) {
    const history = async () => (await (await page.request.get(`${url}/history`)).json());
    const before = Object.keys(await history());
    await page.locator(RUN.join(", ")).first().click();
    const end = Date.now() + timeout * 1000;
    while (Date.now() < end) {
      const now = await history();
      const id = Object.keys(now).find((key) => !before.includes(key));
      if (id && now[id].status?.completed !== undefined) {
        await page.waitForTimeout(1200);
        const { status, outputs } = now[id];
        return { status: status.status_str, messages: status.messages.slice(-1), outputs };
      }
      const said = await commands.dialogs();
      if (said.length) return { status: "a dialog", messages: said };
      await page.waitForTimeout(300);
    }
    return { status: "timeout" };
  },

  // Dialogs and messages that a person would see.
  async dialogs() {
    return page.evaluate(() =>
      [...document.querySelectorAll("[role=dialog], [role=alertdialog], .p-dialog, .p-toast-message-error, .p-toast-message-warn")]
        .filter((found) => found.offsetParent !== null || found.getClientRects().length)
        .map((found) => found.innerText.trim().slice(0, 500))
        .filter(Boolean),
    );
  },
  async close() {
    for (let i = 0; i < 3; i++) await page.keyboard.press("Escape");
    await page.waitForTimeout(400);
  },

  // The graph as the browser sends it to the server.
  async api() {
    return page.evaluate(`(async () => (await ${APP}.graphToPrompt()).output)()`);
  },
  async saved() {
    return page.evaluate(`${APP}.graph.serialize()`);
  },

  // Shows all of the graph, or a part of it ([left, top, width, height] in the graph's own pixels).
  async view({ box, scale, margin = 40 }) {
    await page.evaluate(`((box, scale, margin) => { const app = ${APP}, canvas = app.canvas, view = canvas.ds;
      const nodes = app.graph.nodes ?? app.graph._nodes, groups = app.graph.groups ?? app.graph._groups ?? [];
      if (!box) {
        const boxes = [...nodes.map((n) => [n.pos[0], n.pos[1] - 30, n.size[0], n.size[1] + 30]),
                       ...groups.map((g) => [...g.pos, ...g.size])];
        const left = Math.min(...boxes.map((b) => b[0])), top = Math.min(...boxes.map((b) => b[1]));
        box = [left, top, Math.max(...boxes.map((b) => b[0] + b[2])) - left, Math.max(...boxes.map((b) => b[1] + b[3])) - top];
      }
      const shown = canvas.canvas.getBoundingClientRect();
      const room = { left: 80, top: 100, right: 20, bottom: 20 };
      const wide = shown.width - room.left - room.right, high = shown.height - room.top - room.bottom;
      view.scale = scale ?? Math.min(wide / (box[2] + 2 * margin), high / (box[3] + 2 * margin), 1.5);
      view.offset[0] = -box[0] + margin + room.left / view.scale;
      view.offset[1] = -box[1] + margin + room.top / view.scale;
      app.graph.setDirtyCanvas(true, true); })(${JSON.stringify(box ?? null)}, ${scale ?? "undefined"}, ${margin})`);
    await page.waitForTimeout(600);
  },
  // Where a part of the graph stands on the screen.
  async where({ box }) {
    return page.evaluate(`((box) => { const view = ${APP}.canvas.ds, at = ${APP}.canvas.canvas.getBoundingClientRect();
      return { x: (box[0] + view.offset[0]) * view.scale + at.left, y: (box[1] + view.offset[1]) * view.scale + at.top,
               width: box[2] * view.scale, height: box[3] * view.scale }; })(${JSON.stringify(box)})`);
  },
  async shot({ file, clip }) {
    await page.screenshot({ path: file, ...(clip ? { clip } : {}) });
  },
  async resize({ width, height }) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(500);
  },

  // Selects a node and presses the question mark of its toolbox.
  async help({ type }) {
    await page.evaluate(`((type) => { const app = ${APP}, nodes = app.graph.nodes ?? app.graph._nodes;
      const node = nodes.find((one) => one.type === type), view = app.canvas.ds, shown = app.canvas.canvas;
      view.scale = 0.8;
      view.offset[0] = -node.pos[0] + 500; view.offset[1] = -node.pos[1] + 300;
      (app.canvas.selectNode ?? app.canvas.select).call(app.canvas, node); app.graph.setDirtyCanvas(true, true); })`
      + `(${JSON.stringify(type)})`);
    const button = page.locator('[data-testid="info-button"], [data-testid="help-button"], .help-button').first();
    await button.waitFor({ state: "attached", timeout: 20000 });
    await button.evaluate((found) => found.click());
    await page.waitForTimeout(3000);
  },
  async images() {
    return page.evaluate(() => [...document.querySelectorAll("img")]
      .filter((one) => one.src.includes("/docs/")).map((one) => [one.src, one.naturalWidth]));
  },

  // Anything else a test wants to know or do in the page.
  async evaluate({ code }) {
    return page.evaluate(code);
  },
  async click({ text, selector }) {
    const found = selector ? page.locator(selector).first() : page.getByText(text, { exact: true }).first();
    await found.click();
    await page.waitForTimeout(500);
  },
  async problems() {
    const said = problems;
    problems = [];
    return said;
  },
};

(async () => {
  let browser;
  const answer = (said) => process.stdout.write(JSON.stringify(said) + "\n");
  try {
    browser = await start();
    answer({ ok: true });
  } catch (error) {
    answer({ error: String(error) });
    process.exit(1);
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...given } = JSON.parse(line);
    try {
      answer({ ok: true, said: (await commands[command](given)) ?? null });
    } catch (error) {
      answer({ error: `${command}: ${error}` });
    }
  }
  await browser.close();
})();
