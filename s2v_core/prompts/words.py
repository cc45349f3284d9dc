"""The words that a rewrite may use of its own accord, and those that it must never use.

The guard (``guard``) knows no grammar. It takes a rewrite apart into words and asks of each where it comes from: from a
fact, or from the lists here. So these lists hold nothing that could be seen in a picture besides what every dance
video has: a body, clothes, a camera, light. No color, no garment, no material, no place, no other person.
"""

from __future__ import annotations


def words_of(text: str) -> frozenset[str]:
    """The words of a text that is a list."""
    return frozenset(text.split())


# What ends a noun phrase: articles, prepositions, pronouns, verbs, adverbs. Gendered pronouns are in ``PRONOUNS``.
BREAKS = words_of("""
    a an one the this that these those its their they them it itself themselves who which whose
    of in on at to from with by for through as across along throughout during within toward towards
    and while when where so also then each every all
    is are be being been was has have
    shows shown showing feature features featuring capture captures captured capturing depict depicts depicting
    present presents presenting perform performs performed performing execute executes executing dances
    move moves moved follow follows following match matches matching keep keeps keeping kept remain remains remaining
    stay stays staying hold holds holding maintain maintains maintaining wear wears wearing worn dressed see seen
    filmed films filming recorded takes flows flowing unfold unfolds unfolding stepping looks looking appear appears
    give gives giving create creates creating highlight highlights highlighting
    emphasize emphasizes emphasizing convey conveys conveying reveal reveals revealing
    paired driven combines combining blend blends blending lit
    clearly smoothly fluidly naturally gently evenly steadily precisely consistently continuously fully always
    perfectly throughout fluently confidently seamlessly well very highly
    """)

# Words that stand in noun phrases of every dance video.
PLAIN = words_of("""
    video footage clip scene picture image frame frames shot take style live action view camera composition
    quality detail details focus
    dancer performer subject person body face hair hands hand arms arm legs leg feet skin tone clothes clothing outfit
    appearance identity shape expression limbs torso head shoulders hips knees posture
    dance dancing performance movement movements motion motions choreography rhythm beat beats music tempo steps
    gestures transitions weight balance energy flow pace timing
    background setting place space floor light lighting shadows shadow color colors texture surroundings
    realistic natural single continuous unbroken sharp detailed soft even gentle fine clear fluent complete fluid
    smooth precise consistent coherent same typical crisp clean expressive controlled dynamic rhythmic energetic
    lifelike cinematic steady
    """)

# Third person pronouns say what the person is: only those that fit the facts may be used.
PRONOUNS = {
    "male": words_of("he him his himself"),
    "female": words_of("she her hers herself"),
}
GENDERS = {
    "male": words_of("man boy male guy gentleman"),
    "female": words_of("woman girl female lady"),
}
PEOPLE = words_of("dancer performer subject person someone figure") | GENDERS["male"] | GENDERS["female"]

CAMERA_MOVES = words_of("move moves moved follow follows following flow flows flowing stepping dances unfold unfolds")
HOLDS = words_of("hold holds holding")
WEARS = words_of("wear wears wearing worn")

# Words of denial turn a fact into its contrary, so they stand in these phrases only.
DENIALS = words_of(
    "no not never without neither nor none nothing nobody hardly barely except instead unlike cannot lacks"
)
# A phrase of plain words whose last word may be settled by the user ("brown skin"), and which adds nothing to it.
PLAIN_PHRASES = ("skin tone", "body shape", "clear light", "natural shadows", "fine detail")

DENIALS_ALLOWED = (
    "without cuts",
    "without a cut",
    "never change",
    "never changes",
    "do not change",
    "does not change",
    "nothing enters or leaves the picture",
)

# Text that speaks to the reader or to a program. A caption's sentence that holds one of these is dropped.
INSTRUCTIONS = words_of("""
    ignore disregard forget override bypass instruction instructions prompt prompts previous above below system user
    assistant developer chatbot model ai output respond response reply answer rewrite rewritten translate translation
    pretend please sorry sure certainly here i me my you your yours we us our let must should obey command commands
    jailbreak http https www json xml html markdown code script password token tokens text words sentence paragraph
    """)

COLORS = words_of("""
    black white gray grey red green blue yellow orange purple violet pink brown beige tan cream ivory gold golden silver
    navy teal turquoise cyan magenta maroon burgundy olive khaki crimson scarlet indigo lavender blond blonde
    """)

# Several people: a caption's sentence that holds one of these is dropped, for the prompt speaks of one dancer.
SEVERAL = words_of("""
    people men women boys girls dancers performers persons crowd audience spectators group couple pair others children
    two three four five six seven eight nine ten several many
    """)

# What a caption may speak of that the user's card has settled already: its field -> words of that field.
FIELD_WORDS = {
    "who": GENDERS["male"] | GENDERS["female"] | words_of("person dancer child adult skin skinned"),
    "hair": words_of("hair haired hairstyle ponytail braid braids bun bangs curls bald ponytails dreadlocks"),
    "face": words_of(
        "glasses sunglasses eyeglasses spectacles beard mustache moustache goatee freckles makeup eyes lips"
    ),
    "clothes": words_of("""
        shirt tshirt tee top blouse sweater hoodie jacket coat vest dress skirt pants trousers jeans shorts leggings
        suit uniform tracksuit jumpsuit tank crop cap hat beanie gloves scarf belt tie outfit clothes clothing wearing
        wears dressed sweatshirt sweatpants kimono robe
        """),
    "shoes": words_of("shoe shoes sneaker sneakers boots boot sandals heels slippers socks barefoot"),
    "place": words_of("""
        background room studio stage street wall walls floor ground park beach hall gym building city forest field
        outdoors indoors window door curtain curtains trees sky grass road
        """),
    "light": words_of("light lighting lit sunlight lamp lamps neon shadow shadows daylight spotlight dark bright"),
}
