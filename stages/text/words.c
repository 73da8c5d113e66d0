#include "stages/text/words.h"

#include <string.h>

#include "pipeline/base/str.h"

/* Function words, sorted. A subject that shares only such a word with its ticket shares nothing. */
static const char *const STOP_WORDS[] = {
    "about",     "above",   "after",    "again",      "all",    "also",    "and",     "any",
    "are",       "because", "been",     "before",     "being",  "below",   "between", "both",
    "but",       "can",     "cannot",   "could",      "did",    "does",    "doing",   "don",
    "down",      "during",  "each",     "else",       "ever",   "every",   "few",     "for",
    "from",      "further", "get",      "gets",       "got",    "had",     "has",     "have",
    "having",    "hello",   "her",      "here",       "hers",   "herself", "him",     "himself",
    "his",       "how",     "into",     "its",        "itself", "just",    "let",     "may",
    "might",     "more",    "most",     "much",       "must",   "myself",  "nor",     "not",
    "now",       "off",     "once",     "one",        "only",   "other",   "our",     "ours",
    "ourselves", "out",     "over",     "own",        "please", "same",    "shall",   "she",
    "should",    "some",    "such",     "than",       "thank",  "thanks",  "that",    "the",
    "their",     "theirs",  "them",     "themselves", "then",   "there",   "these",   "they",
    "this",      "those",   "through",  "too",        "under",  "until",   "upon",    "very",
    "was",       "were",    "what",     "when",       "where",  "which",   "while",   "who",
    "whom",      "why",     "will",     "with",       "would",  "yes",     "yet",     "you",
    "your",      "yours",   "yourself", "yourselves",
};

struct words words_open(const char *text, size_t n_bytes)
{
    return (struct words){.at = text, .end = text + n_bytes};
}

static bool is_word_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

bool words_next(struct words *w, struct word *out)
{
    while (w->at < w->end && !is_word_byte((unsigned char)*w->at))
        w->at++;
    out->n_bytes = 0;
    out->has_digit = false;
    while (w->at < w->end && out->n_bytes < WORD_BYTES_MAX && is_word_byte((unsigned char)*w->at)) {
        char c = *w->at++;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        out->has_digit |= c >= '0' && c <= '9';
        out->text[out->n_bytes++] = c;
    }
    out->text[out->n_bytes] = '\0';
    return out->n_bytes > 0;
}

uint64_t word_hash(const struct word *w)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < w->n_bytes; i++)
        hash = (hash ^ (unsigned char)w->text[i]) * 0x100000001b3u;
    return hash;
}

static bool is_content(const struct word *w)
{
    size_t n_letters = 0;
    for (size_t i = 0; i < w->n_bytes; i++)
        n_letters += ((unsigned char)w->text[i] & 0xC0) != 0x80; /* characters, not bytes */
    if (n_letters < 3 || w->has_digit)
        return false;
    size_t first = 0;
    size_t n = sizeof STOP_WORDS / sizeof STOP_WORDS[0];
    while (n > 0) {
        int order = strcmp(w->text, STOP_WORDS[first + n / 2]);
        if (order == 0)
            return false;
        if (order > 0) {
            first += n / 2 + 1;
            n -= n / 2 + 1;
        } else {
            n /= 2;
        }
    }
    return true;
}

bool words_share_content(const char *a, const char *b)
{
    struct words in_a = words_open(a, strlen(a));
    struct word x;
    struct word y;
    while (words_next(&in_a, &x)) {
        if (!is_content(&x))
            continue;
        struct words in_b = words_open(b, strlen(b));
        while (words_next(&in_b, &y))
            if (str_eq(x.text, y.text))
                return true;
    }
    return false;
}
