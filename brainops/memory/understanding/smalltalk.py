"""Telling chatter from work: by what it talks of, and by the ties to the work that it lacks.

The words are those of everyday life: food, weather, family, animals, sport, the office as a place. A word counts as
everyday only where the rest of the session does not use it: a kitchen maker's sessions may talk of kitchens.
"""

import re
from collections.abc import Callable

from brainops.memory.understanding.words import content, specific, stem, tokens, word_set

_EVERYDAY = """
" air-conditioning aircon allergy allotment alpaca angler anniversary appetite astronaut aunt autumn baby bacon badminton baked bakery baking balcony
balloon balloons bar barbecue barber basketball bathrobe bbq beach beaver bedtime beer bicycle bike billiards bird birds birthday biscuit boardgame
bowling boyfriend bread breakfast bride brother brunch budgie burger butter cactus cafe cafeteria cake cakes camping canary candy canoe canteen
cappuccino carnival cat cats ceiling cheese chicken chocolate choir christening christmas cinema circus cleaner climbing clown coffee comedy commute
concert confetti cook cooking costume couch courier cousin cricket crisps crochet croissant crossword crutches cucumber curry cycling dad darts
daughter daydream deer delicious dentist desk-lamp diapers dinner dinosaur dishwasher doctor dog dogs donkey donut door doors doughnut drummer easter
egg eggs elephant elevator elk emoji espresso father ferry fiance fiancée ficus film fireworks fishing flower flowers flu foggy football freezer
fridge full-moon funeral funny garden gardening garlic gecko ghost giraffe girlfriend gloves gluten goalkeeper goldfish golf goose goulash
granddaughter grandfather grandma grandmother grandpa grandson grill groom guinea guitar gull gum gym gym-shoes haircut halloween hamster handball
hangover haunted headache headphones headset heating heatwave hedge hedgehog hen hiccups hiking hockey holiday holidays homework honey honeymoon
horoscope humans hungry husband ice-cream icecream icing jacket janitor jogging jokes juice jukebox karaoke kayak kebab ketchup kettle keyboard kid
kids kindergarten kitchen kitten kittens knitting lamb laugh laughed lawn lawnmower lego lemon lemonade lightning lizard llama lollipop lunch magician
marmalade marshmallow meal melon meme microwave microwaved milkshake mom monkey moose mosquito mosquitoes mother mountains movie muffin muffins mug mugs mum
museum mustard nap nappies neighbor neighbors neighbour neighbours nephew netflix new-year niece noisy noodle noodles novel nuts office olympics onion
orange orchestra orchid otter oven padel pancake pancakes parade parrot party pasta pastries pastry penguin pet pets piano pie pigeon pizza playground
plumber podcast poker pollen pond pony pool popcorn potato pottery pram pretzel pretzels printer pub pumpkin puppies puppy quiz rabbit raccoon
radiator rain rained raining rainy recipe restaurant restroom robots rooster roses rowing rugby sailing salad sandals sandwich santa sauna sausage
scanner scarf scooter seagull seal sheep sister skateboard ski skiing sledge slippers slug slugs smell smells smelly smoothie snack snail snake sneeze
sneezing snooker snoring snowed snowing soccer socks sofa son soup sourdough squash squeaks squeaky squirrel standing-desk stapler steak stew sticker
stickers stinks stomach strawberry stroller subway sudoku summer sunburn sunglasses sunny sunrise sunscreen sunset sunshine supper sushi sweater
sweatshirt sweets swimming-pool t-shirt tart tasty taxi tea teapot television tennis theatre thirsty thunder tired toaster toddler tomato tomatoes
tooth toothache trampoline trombone tulips tv tyre tyres ukulele umbrella uncle underground unicorn vacation vaccine vegan vegetarian vending
volleyball waffle waffles weather wedding whisky whiteboard wife windy wine winter yawn yeast yoga yucca zoo
"""

_WORDS = frozenset(_EVERYDAY.split())
_HOME = word_set(
    """
    wife husband girlfriend boyfriend kid kids son daughter baby mother mum mom father dad grandma grandmother grandpa sister brother cousin
    neighbour neighbours neighbor neighbors cat dog
    """
)


_FEELS = re.compile(
    r"\b(?:what an? (?:day|morning|night|week|mess|life)|haha|lol|as if|apparently|nobody knows|poor|lucky|i wish|imagine|believe it or not|funny|hilarious|weird|spooky|cute|adorable|gorgeous|rumou?r|gossip|somebody|someone|again, (?:of course|sigh)|sigh|argh|ugh|"
    r"moment of silence|rest in peace|fun fact|guess what|don't ask|i approve|for the record|legend)\b",
    re.IGNORECASE,
)


def is_smalltalk(
    message: str,
    *,
    used_elsewhere: Callable[[str], int],
    binding: bool,
    answered: bool = False,
    at_the_end: bool = False,
    surely: bool = False,
) -> bool:
    """Whether what a user says is chatter.

    `used_elsewhere` tells for a stem in how many other messages of the work it occurs; `binding`: it says what must or
    must not be done; `answered`: the assistant took it up in the same words; `at_the_end`: no more was said to the work; `surely`:
    only where two things speak for it.
    """
    stems = content(message)
    if not stems:
        return False
    words = [token.lower() for token in tokens(message)]
    everyday = {
        stem(word)
        for place, (word, token) in enumerate(zip(words, tokens(message), strict=True))
        if (token.islower() or not place) and word.removesuffix("'s") in _WORDS and used_elsewhere(stem(word)) == 0
    }
    at_home = any(
        word in _HOME and place and words[place - 1] in ("my", "our", "his", "her", "their")
        for place, word in enumerate(words)
    )
    tied = sum(1 for found in stems - everyday if used_elsewhere(found) > 0)
    particular = specific(message)
    if not everyday and not at_home and (particular or len(stems) < 3 or not _FEELS.search(message)):
        return False
    loose = 2 if tied <= 0.2 * len(stems) else 1 if tied <= 0.34 * len(stems) else 0
    identifiers = sum(
        1
        for found in particular
        if any(mark in found for mark in "_./:")
        or (any(c.isdigit() for c in found) and any(c.isalpha() for c in found))
    )
    return (
        2 * len(everyday)
        + 3 * at_home
        + loose
        + at_the_end
        + (not answered)
        - 3 * binding
        - 3 * answered
        - 2 * identifiers
        - max(0, tied - 2)
        >= _CHATTER + 2 * surely
    )


_CHATTER = 4
"""From so many points on it is chatter: an everyday word and nothing else, or no tie at all, last and unanswered."""
