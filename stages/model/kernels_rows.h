/* Part of kernels_body.h: element-wise kernels, sums for norms, AdamW, quantisation. */

static void kv_quant_row(int n, float scale, const float *x, float *y)
{
    V_LOOP
    for (int i = 0; i < n; i++) {
        float v = x[i] / scale;
        v = v < -128.0f ? -128.0f : v;
        v = v > 127.0f ? 127.0f : v;
        y[i] = fm_rintf(v) * scale;
    }
}

static float abs_max_row(size_t n, const float *x)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        float v[LANES];
        lanes_store(v, i + LANES <= n ? lanes_load(x + i) : lanes_load_tail(x + i, n - i, 0.0f));
        for (int j = 0; j < LANES; j++) {
            float a = fm_f32_bits(fm_bits_f32(v[j]) & 0x7FFFFFFFu);
            lane[j] = a > lane[j] ? a : lane[j];
        }
    }
    float largest = 0.0f;
    for (int j = 0; j < LANES; j++)
        largest = lane[j] > largest ? lane[j] : largest;
    return largest;
}

static void swiglu_row(size_t n, const float *gate, const float *up, float *y)
{
    V_LOOP
    for (size_t i = 0; i < n; i++) {
        float g = gate[i];
        y[i] = up[i] * (g / (1.0f + fm_expf(-g)));
    }
}

/* silu = g s with s = 1 / (1 + exp(-g)); silu' = s (1 + g (1 - s)). */
static void swiglu_backward_row(size_t n, const float *dy, const float *gate, const float *up,
                                float *dgate, float *dup)
{
    V_LOOP
    for (size_t i = 0; i < n; i++) {
        float d = dy[i], g = gate[i], u = up[i];
        float s = 1.0f / (1.0f + fm_expf(-g));
        float slope = s * __builtin_fmaf(g, 1.0f - s, 1.0f);
        dgate[i] = (d * u) * slope;
        dup[i] = d * (g * s);
    }
}

/* What 16 bits hold of a row, in place: q = rint(x / scale), half to even, scale = max|x| / 32767,
 * x = q * scale. Returns the scale: 0 of a row of (nearly) nothing, NaN of one that is not finite,
 * as are its values then. q NULL: not kept. */
static float round16_row(size_t n, float *x, int16_t *q)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t b = fm_bits_f32(x[i]) & 0x7FFFFFFFu;
        bits = b > bits ? b : bits;
    }
    float most = fm_f32_bits(bits), scale = most / 32767.0f, inverse = 32767.0f / most;
    if (bits >= 0x7F800000u || most < INT16_SMALLEST) {
        scale = bits >= 0x7F800000u ? fm_f32_bits(0x7FC00000u) : 0.0f;
        for (size_t i = 0; i < n; i++)
            x[i] = scale;
        if (q)
            memset(q, 0, n * sizeof *q);
        return scale;
    }
    if (q)
        for (size_t i = 0; i < n; i++)
            q[i] = (int16_t)(uint16_t)rounded_bits(x[i] * inverse);
    V_LOOP
    for (size_t i = 0; i < n; i++)
        x[i] = ((x[i] * inverse + ROUNDING) - ROUNDING) * scale;
    return scale;
}

static void unpack16_row(size_t n, const int16_t *q, float scale, float *x)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        x[i] = (float)q[i] * scale;
}

static void unpack8_row(size_t n, const int8_t *q, float scale, float *x)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        x[i] = (float)q[i] * scale;
}

static void add_row(size_t n, const float *x, float *y)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void scale_row(size_t n, float s, float *y)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        y[i] *= s;
}

static double sum_squares_row(size_t n, const float *x)
{
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)x[i + (size_t)j] * (double)x[i + (size_t)j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)x[i] * (double)x[i];
    return lanes_sum_double(lane);
}

static bool all_finite_row(size_t n, const float *x)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (fm_bits_f32(x[i]) & 0x7F800000u) == 0x7F800000u;
    return bad == 0;
}

static void adamw_row(size_t n, const struct adamw_factors *s, float *p, const float *g, float *m,
                      float *v)
{
    const struct adamw_factors f = *s;
    V_LOOP
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * f.gscale;
        float first = __builtin_fmaf(f.beta1, m[i], f.one_minus_beta1 * grad);
        float second = __builtin_fmaf(f.beta2, v[i], (f.one_minus_beta2 * grad) * grad);
        float root = __builtin_fmaf(__builtin_sqrtf(second), f.inv_correction, f.eps);
        m[i] = first;
        v[i] = second;
        p[i] = __builtin_fmaf(-f.step, first / root, p[i] * f.decay);
    }
}

static void fake_q2_row(size_t n, float s, const float *w, float *out)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        out[i] = s * (quant_level_q2(w[i], s) - 0.5f);
}

static double fake_q2_backward_row(size_t n, float s, const float *w, const float *dwq, float *dw)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        float slope[LANES], d[LANES], x[LANES], in[LANES];
        size_t here = n - i < LANES ? n - i : LANES;
        lanes_store(x, here == LANES ? lanes_load(w + i) : lanes_load_tail(w + i, here, 0.0f));
        lanes_store(d, here == LANES ? lanes_load(dwq + i) : lanes_load_tail(dwq + i, here, 0.0f));
        for (int j = 0; j < LANES; j++) {
            float u = x[j] / s;
            float v = u + 0.5f;
            v = v < -1000.0f ? -1000.0f : v;
            v = v > 1000.0f ? 1000.0f : v;
            float q = fm_rintf(v);
            slope[j] = (q - 0.5f) - u; /* inside: rounding error; outside: the clipped level */
            in[j] = d[j];
            slope[j] = q < -1.0f ? -1.5f : slope[j];
            in[j] = q < -1.0f ? 0.0f : in[j];
            slope[j] = q > 2.0f ? 1.5f : slope[j];
            in[j] = q > 2.0f ? 0.0f : in[j];
        }
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)d[j] * (double)slope[j];
        for (size_t j = 0; j < here; j++)
            dw[i + j] = in[j];
    }
    return lanes_sum_double(lane);
}

static void fake_q4_row(size_t n, float s, const float *w, float *out)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        out[i] = s * (quant_level_q4(w[i], s) - 7.5f);
}

static double q2_error_row(size_t n, float s, const float *w)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        float e[LANES], x[LANES];
        size_t here = n - i < LANES ? n - i : LANES;
        lanes_store(x, here == LANES ? lanes_load(w + i) : lanes_load_tail(w + i, here, 0.0f));
        for (int j = 0; j < LANES; j++)
            e[j] = s * (quant_level_q2(x[j], s) - 0.5f) - x[j];
        for (size_t j = here; j < LANES; j++)
            e[j] = 0.0f;
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)e[j] * (double)e[j];
    }
    return lanes_sum_double(lane);
}
