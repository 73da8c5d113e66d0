#include "stages/model/weight.h"

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/fmath.h"

struct weight weight_dense(const float *data, int n, int k)
{
    return (struct weight){.form = WEIGHT_F32, .n = n, .k = k, .data = data};
}

struct weight weight_codes(enum weight_form form, int n, int k, const void *codes,
                           const float *scale, int n_scales)
{
    return (struct weight){
        .form = form, .n = n, .k = k, .data = codes, .scale = scale, .n_scales = n_scales};
}

struct weight weight_half(const uint16_t *data, int n, int k)
{
    return (struct weight){.form = WEIGHT_F16, .n = n, .k = k, .data = data};
}

size_t weight_bytes(enum weight_form form, int n, int k)
{
    CHECK(n >= 0 && k >= 0);
    size_t elements = size_mul((size_t)n, (size_t)k);
    switch (form) {
    case WEIGHT_F32:
        return size_mul(elements, 4);
    case WEIGHT_BF16:
    case WEIGHT_F16:
        return size_mul(elements, 2);
    case WEIGHT_Q2:
        return elements / 4;
    case WEIGHT_Q4:
        return elements / 2;
    }
    return 0;
}

static size_t element_bytes(const struct weight *w)
{
    CHECK(w->form == WEIGHT_F32 || w->form == WEIGHT_BF16 || w->form == WEIGHT_F16);
    return w->form == WEIGHT_F32 ? 4 : 2;
}

size_t weight_panel_bytes(const struct weight *w)
{
    size_t n_panels = ((size_t)w->n + WEIGHT_PANEL - 1) / WEIGHT_PANEL;
    return size_mul(size_mul(n_panels, (size_t)w->k), WEIGHT_PANEL * element_bytes(w));
}

struct weight weight_to_panels(const struct weight *w, void *panels)
{
    size_t k = (size_t)w->k;
    bool wide = element_bytes(w) == 4;
    struct weight out = *w;
    CHECK(!w->panels);
    memset(panels, 0, weight_panel_bytes(w));
    for (size_t row = 0; row < (size_t)w->n; row++) {
        size_t from = row * k, to = row / WEIGHT_PANEL * k * WEIGHT_PANEL + row % WEIGHT_PANEL;
        for (size_t i = 0; i < k; i++, from++, to += WEIGHT_PANEL)
            if (wide)
                ((float *)panels)[to] = ((const float *)w->data)[from];
            else
                ((uint16_t *)panels)[to] = ((const uint16_t *)w->data)[from];
    }
    out.data = panels;
    out.panels = true;
    return out;
}

/* The code of (row, column); `bits` is 2 or 4, a lane of 32 bits holds 32/bits inputs. */
static unsigned code_at(const struct weight *w, int row, int column, int bits)
{
    int per_group = 32 / bits;
    const unsigned char *group =
        (const unsigned char *)w->data +
        ((size_t)(row / 16) * (size_t)(w->k / per_group) + (size_t)(column / per_group)) * 64;
    uint32_t lane = bytes_get_u32(group + 4 * (row % 16));
    return (lane >> (bits * (column % per_group))) & ((1u << bits) - 1);
}

void weight_unpack_row(const struct weight *w, int row, float *out)
{
    CHECK(row >= 0 && row < w->n && !w->panels);
    size_t k = (size_t)w->k;
    if (w->form == WEIGHT_F32) {
        memcpy(out, (const float *)w->data + (size_t)row * k, k * sizeof *out);
    } else if (w->form == WEIGHT_BF16) {
        const uint16_t *src = (const uint16_t *)w->data + (size_t)row * k;
        for (size_t i = 0; i < k; i++) {
            uint32_t bits = (uint32_t)src[i] << 16;
            memcpy(out + i, &bits, sizeof bits);
        }
    } else if (w->form == WEIGHT_F16) {
        const uint16_t *src = (const uint16_t *)w->data + (size_t)row * k;
        for (size_t i = 0; i < k; i++)
            out[i] = fm_of_half(src[i]);
    } else {
        float scale = w->scale[w->n_scales == 1 ? 0 : row];
        bool two = w->form == WEIGHT_Q2;
        for (int i = 0; i < w->k; i++)
            out[i] = scale * ((float)(int)code_at(w, row, i, two ? 2 : 4) - (two ? 1.5f : 7.5f));
    }
}

const char *weight_layout_name(enum weight_form form)
{
    switch (form) {
    case WEIGHT_F32:
        return "f32";
    case WEIGHT_BF16:
        return "bf16";
    case WEIGHT_F16:
        return "f16";
    case WEIGHT_Q2:
        return "q2-16x16-v1";
    case WEIGHT_Q4:
        return "q4-16x8-v1";
    }
    return "?";
}
