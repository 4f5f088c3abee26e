"""Words that several tasks share. Forms of one word stand together; a text begins without its space."""

from __future__ import annotations

NOUNS = (
    ("key", "keys"), ("dog", "dogs"), ("teacher", "teachers"), ("doctor", "doctors"), ("student", "students"),
    ("book", "books"), ("car", "cars"), ("picture", "pictures"), ("friend", "friends"), ("farmer", "farmers"),
    ("tree", "trees"), ("house", "houses"), ("bird", "birds"), ("author", "authors"), ("window", "windows"),
    ("king", "kings"), ("boy", "boys"), ("girl", "girls"), ("letter", "letters"), ("road", "roads"),
    ("table", "tables"), ("ship", "ships"), ("soldier", "soldiers"), ("river", "rivers"), ("wall", "walls"),
    ("cat", "cats"), ("garden", "gardens"), ("machine", "machines"), ("driver", "drivers"), ("guard", "guards"),
    ("cup", "cups"), ("horse", "horses"), ("lawyer", "lawyers"), ("bridge", "bridges"), ("island", "islands"),
)  # fmt: skip
"""Singular and plural."""
PEOPLE = (
    ("teacher", "teachers"), ("doctor", "doctors"), ("student", "students"), ("friend", "friends"),
    ("farmer", "farmers"), ("author", "authors"), ("king", "kings"), ("boy", "boys"), ("girl", "girls"),
    ("soldier", "soldiers"), ("driver", "drivers"), ("guard", "guards"), ("lawyer", "lawyers"), ("nurse", "nurses"),
    ("artist", "artists"), ("parent", "parents"), ("child", "children"), ("manager", "managers"),
    ("neighbor", "neighbors"), ("worker", "workers"), ("officer", "officers"), ("singer", "singers"),
    ("player", "players"), ("writer", "writers"), ("scientist", "scientists"), ("engineer", "engineers"),
)  # fmt: skip
"""Singular and plural of those who can see, want and like."""
BE = ((" is", " are"), (" was", " were"), (" has", " have"))
"""Verb forms that follow a subject, singular and plural."""
WOMEN = (
    "Mary", "Anna", "Sarah", "Emma", "Alice", "Laura", "Jane", "Lucy", "Susan", "Linda", "Helen", "Julia", "Rachel",
    "Kate", "Maria", "Emily", "Rose", "Nancy", "Karen", "Lisa", "Elizabeth", "Margaret", "Jessica", "Rebecca",
)  # fmt: skip
MEN = (
    "John", "Peter", "David", "James", "Tom", "Paul", "Mark", "George", "Henry", "Robert", "Michael", "Simon", "Daniel",
    "Jack", "Thomas", "Richard", "William", "Charles", "Edward", "Frank", "Brian", "Kevin", "Steven", "Eric",
)  # fmt: skip
PLAIN = (
    "apple", "river", "stone", "music", "paper", "window", "garden", "summer", "market", "silver", "table", "winter",
    "bread", "horse", "cloud", "bridge", "forest", "letter", "ocean", "picture", "island", "engine", "coffee", "ladder",
    "mountain", "pencil", "flower", "castle", "village", "doctor", "planet", "mirror", "ticket", "rocket", "button",
    "train", "glass", "finger", "kitchen", "season", "circle", "shadow", "metal", "corner", "blanket", "candle",
    "dragon", "hammer", "jacket", "lemon", "magnet", "needle", "orange", "pocket", "rabbit", "saddle", "temple",
    "valley", "wagon", "yellow",
)  # fmt: skip
"""Words that have nothing to do with each other."""
