#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/page_style.h"

/* What WCAG 2.2 asks of text (1.4.3) and of what is drawn (1.4.11). */
#define TEXT_RATIO 4.5
#define DRAWN_RATIO 3.0

struct colour {
    double r, g, b; /* 0 to 1 */
};

/* The colours of one ground; dark has what it does not name from light. */
struct scheme {
    const char *name;
    const char *own, *light;
};

/* The caller xfrees it. */
static char *value_of(const struct scheme *s, const char *name)
{
    char *key = xasprintf("--%s:", name);
    const char *found = strstr(s->own, key);
    if (!found)
        found = strstr(s->light, key);
    if (!found)
        fail_msg("there is no %s", key);
    found += strlen(key);
    xfree(key);
    return xstrndup(found, strcspn(found, ";}"));
}

static double figure_of(const struct scheme *s, const char *name)
{
    char *text = value_of(s, name);
    double v = strtod(text, NULL);
    xfree(text);
    return v;
}

static struct colour colour_of(const struct scheme *s, const char *name)
{
    unsigned r = 0, g = 0, b = 0;
    char *text = value_of(s, name);
    if (strlen(text) == 4 && sscanf(text, "#%1x%1x%1x", &r, &g, &b) == 3)
        r *= 17, g *= 17, b *= 17;
    else if (sscanf(text, "#%2x%2x%2x", &r, &g, &b) != 3 &&
             sscanf(text, "%u %u %u", &r, &g, &b) != 3)
        fail_msg("%s: --%s: no colour: %s", s->name, name, text);
    xfree(text);
    return (struct colour){r / 255.0, g / 255.0, b / 255.0};
}

static double linear(double v)
{
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double luminance(struct colour c)
{
    return 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
}

static double contrast(struct colour a, struct colour b)
{
    double x = luminance(a), y = luminance(b);
    return (fmax(x, y) + 0.05) / (fmin(x, y) + 0.05);
}

static struct colour over(struct colour top, struct colour ground, double alpha)
{
    double a = fmin(alpha, 1);
    return (struct colour){top.r * a + ground.r * (1 - a), top.g * a + ground.g * (1 - a),
                           top.b * a + ground.b * (1 - a)};
}

static void check(const struct scheme *s, const char *ink, const char *ground, double least)
{
    double found = contrast(colour_of(s, ink), colour_of(s, ground));
    if (found < least)
        fail_msg("%s: --%s on --%s: %.2f, expected %.1f", s->name, ink, ground, found, least);
}

static void check_texts(const struct scheme *s)
{
    static const char *const pairs[][2] = {
        {"ink", "ground"},      {"ink", "panel"},        {"soft", "ground"},
        {"soft", "panel"},      {"accent", "ground"},    {"good", "ground"},
        {"bad", "ground"},      {"warn", "ground"},      {"good", "good-ground"},
        {"bad", "bad-ground"},  {"warn", "warn-ground"}, {"soft", "muted-ground"},
        {"ink", "node"},        {"soft", "node"},        {"ink", "good-ground"},
        {"ink", "bad-ground"},  {"ink", "warn-ground"},  {"soft", "good-ground"},
        {"soft", "bad-ground"}, {"soft", "warn-ground"}, {"zero", "ground"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        check(s, pairs[i][0], pairs[i][1], TEXT_RATIO);
}

static void check_pens(const struct scheme *s)
{
    static const char *const pens[] = {"c0", "c1", "c2", "c3", "c4", "good", "bad", "warn"};
    for (size_t i = 0; i < sizeof pens / sizeof pens[0]; i++)
        check(s, pens[i], "ground", DRAWN_RATIO);
}

/* Every step of a matrix, of what is right and of what is missed. */
static void check_steps(const struct scheme *s, const char *css)
{
    struct colour ground = colour_of(s, "ground");
    for (int i = 1; i <= 10; i++) {
        char *key = xasprintf(".h%d{--a:", i);
        const char *found = strstr(css, key);
        if (!found)
            fail_msg("there is no %s", key);
        double a = strtod(found + strlen(key), NULL);
        xfree(key);
        struct colour text = colour_of(s, i >= 9 ? "on-heat" : "ink");
        double heat = contrast(text, over(colour_of(s, "heat"), ground, a));
        double miss = contrast(text, over(colour_of(s, "miss"), ground, a * figure_of(s, "tint")));
        if (heat < TEXT_RATIO || miss < TEXT_RATIO)
            fail_msg("%s: step %d: %.2f and, missed, %.2f", s->name, i, heat, miss);
    }
}

static void contrasts(void **state)
{
    (void)state;
    struct buf css;
    buf_init(&css, BUF_MAX_DEFAULT);
    page_style_write(&css);
    const char *light = strstr(buf_text(&css), ":root{");
    const char *dark = light ? strstr(light + 1, ":root{") : NULL;
    assert_non_null(dark);
    char *light_text = xstrndup(light, strcspn(light, "}"));
    char *dark_text = xstrndup(dark, strcspn(dark, "}"));
    const struct scheme schemes[] = {{"light", light_text, light_text},
                                     {"dark", dark_text, light_text}};
    for (size_t i = 0; i < 2; i++) {
        check_texts(&schemes[i]);
        check_pens(&schemes[i]);
        check_steps(&schemes[i], buf_text(&css));
    }
    assert_non_null(strstr(buf_text(&css), ".matrix .h9,.matrix .h10{color:var(--on-heat)}"));
    xfree(light_text);
    xfree(dark_text);
    buf_release(&css);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(contrasts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
