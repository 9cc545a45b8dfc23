"""The texts the tokenizer goldens are made of: what breaks tokenizers, by kind."""

PROSE = {
    "en": "All people are born free, and I'd say they're equal too. Don't we all know it? She'll go; they've gone. "
          "IT'S TRUE, WE'RE SURE, I'M NOT, YOU'LL SEE, HE'D GO. The mill turns a farthing's worth of grain. ",
    "de": "Die Straße führt über die Brücke; größer wird's nicht. Äpfel, Öl und Übermut kosten 3,50 €. ",
    "fr": "L'été s'achève : où donc est passé l'œuvre d'aujourd'hui ? « Peut-être », dit-il. ",
    "tr": "İstanbul'da ışık var, ığdır'a gitti. ŞÇĞÜÖ şçğüö. ",
    "vi": "Tiếng Việt có nhiều dấu: ắ ằ ẳ ẵ ặ, người ta nói vậy. ",
    "ru": "Все люди рождаются свободными; ёж, объём и Йод. ",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι. ",
    "hy": "Բոլոր մարդիկ ծնվում են ազատ։ ",
    "ka": "ყველა ადამიანი იბადება თავისუფალი. ᲐᲑᲒ ",
    "he": "כל בני אדם נולדו בני חורין, שָׁלוֹם. ",
    "ar": "يولد جميع الناس أحرارًا متساوين، مَرْحَبًا؟ ",
    "hi": "सभी मनुष्य जन्म से स्वतंत्र हैं। क्षत्रिय ",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে। ",
    "ta": "மனிதர்கள் அனைவரும் சுதந்திரமாகப் பிறந்தவர்கள். ",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระ ",
    "km": "មនុស្សទាំងអស់កើតមកមានសេរីភាព។ ",
    "bo": "འགྲོ་བ་མིའི་རིགས། ",
    "am": "ሰዎች ሁሉ ነጻ ሆነው ተወለዱ። ",
    "zh": "人人生而自由，在尊严和权利上一律平等。“好吧！”他说：《书》……、三千。 ",
    "ja": "すべての人間は、生まれながらにして自由である。カタカナとひらがな、ー！ ",
    "ko": "모든 인간은 태어날 때부터 자유롭다. 한글 ㄱㄴㄷ ",
}

CODE = """#include <stdio.h>
int main(void) {
\tfor (int i = 0; i < 10; ++i) printf("%d\\n", i * 0x1F);   /* loop */
    return x->y[3] != NULL && !done ? a|b : c&~d; // a_b fooBar FOO_BAR
}
def f(x, *args, **kw):
        \"\"\"doc\"\"\"
        return {k: v for k, v in kw.items()} or [1, 2.5e-3, `x`, $y, @z, 100%]
<div class="a-b">&nbsp;</div> https://example.org/a?b=1&c=%20#d user@example.org C:\\dir\\file.txt
"""

SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x85", "\xa0", "\u1680", "\u2000", "\u2003",
          "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"]
CONTROLS = [chr(c) for c in (*range(1, 9), *range(14, 32), 0x7F, 0x80, 0x9F, 0xAD, 0x200B, 0x200D, 0x202E, 0x2060,
                             0xFEFF, 0xFFFD, 0xE000, 0xFFFF, 0x378, 0x10FFFF)]
MARKS = "e\u0301 a\u0308\u0323 \u0301x n\u0303o \u093f\u0915 ก็ำ \u20e3 1\ufe0f\u20e3 \u0345a \u1ab0 "
EMOJI = "🙂🙃 👩‍👩‍👧‍👦 🇩🇪🇫🇷 ✊🏽 ❤️ ☂☃ ♥️a 𝒜𝓑𝒞 𝟙𝟚 🯰🯱 "
NUMBERS = "0 12 123 1234 12345 1234567890 3.14159 1,000,000 -42 1e-9 2024-01-31 ½ ²³ Ⅷ ٣٤٥ १२३४ 一二三 １２３４ ①② 12a34 a1b22c333 "
PUNCTUATION = "... !!! ?! -- --- == === <<>> ``` '' \"\" ()[]{} #$%&*+,-./:;<=>?@^_`|~ ¿¡ «» “” ‘’ — – … 。、！？：；（）【】 €£¥ ©®™ °± ×÷ "
APOSTROPHES = "'s 't 're 've 'm 'll 'd 'S 'T 'RE 'vE 'M 'lL 'D 'x ' s''s'tt'rE're'r 'v 'l '\n's ’s it’s rock'n'roll o'clock 'ſ 'K "
CASES = "camelCase PascalCase UPPER lower ÉCOLE École éCOLE ABCdef ABCÉ ÉABC aBcDeF ǅabc ʰaʰ ABC中文 中文ABC iPhone 'sABC ABC's ABC'S "
SPECIALS = ("<s>hello</s> <|start|>x<|end_turn|>  <|end_turn|>\n\n<|user_tag|> <|user_tag|><|user_tag|> [A][AB][ABC]] "
            "<|start|> <|start| > <|START|> <0x41> <0xE2> \u2581\u2581a [MASK] a [MASK]  b <mask> a <mask> <unk>")


def spaced():
    out = []
    for s in SPACES:
        out += [s, "a" + s + "b", s + s + "c", "1" + s, s + "!", s + "\n" + s, "中" + s + s + "中"]
    return "".join(out) + "end" + "".join(SPACES)


def mixed():
    """Every ordered pair of characters of different kinds."""
    kinds = list("aZé中あ한1٣'!$` \n\t\u3000\u0301\x01\u0378🙂/_") + ["\r\n"]
    return "".join(a + b for a in kinds for b in kinds)


def texts():
    out = list(PROSE.values())
    out += [CODE, CODE.replace("\n", "\r\n"), spaced(), mixed(), "".join(CONTROLS), "a" + "b".join(CONTROLS), MARKS, EMOJI,
            NUMBERS, PUNCTUATION, APOSTROPHES, CASES, SPECIALS]
    out += [" ", "  ", "\n", "\n\n\n", " \n ", "a", " a", "a ", "a  ", "  a", "\ta\t", "'", "'s", " '", "\u3000", "🙂",
            "x" * 300, " " * 70, "\n" * 40, "\t" * 33, "7" * 50, "!" * 50, "ab" * 100, "中" * 60, "é" * 60, "' " * 30]
    return out


SWEEP_BLOCK = 1024
SWEEP_END = 0x33480


def sweep(block):
    """Every code point of one block of 1024, next to a letter, a digit, a space, itself and an apostrophe."""
    out = []
    for c in range(block * SWEEP_BLOCK, (block + 1) * SWEEP_BLOCK):
        if not 0xD800 <= c < 0xE000:
            x = chr(c)
            out.append(f"a{x}b1{x} {x}{x}! {x}a'{x}\n{x}")
    return "".join(out)
