/* Part of kernels_body.h: RMSNorm and RoPE. */

static inline float dot_row(size_t n, const float *x, const float *y)
{
    struct lanes sum = lanes_set(0.0f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum = lanes_fma(lanes_load(x + i), lanes_load(y + i), sum);
    if (i < n)
        sum = lanes_fma(lanes_load_tail(x + i, n - i, 0.0f), lanes_load_tail(y + i, n - i, 0.0f),
                        sum);
    return lanes_sum(sum);
}

static float rmsnorm_row(int dim, const float *x, const float *w, float eps, float *y)
{
    float mean = dot_row((size_t)dim, x, x) / (float)dim;
    float rstd = 1.0f / __builtin_sqrtf(mean + eps);
    V_LOOP
    for (int i = 0; i < dim; i++)
        y[i] = (x[i] * rstd) * w[i];
    return rstd;
}

/*
 * y_i = w_i x_i r, r = (mean(x^2) + eps)^(-1/2), dr/dx_j = -r^3 x_j / dim:
 * dx_j = r w_j dy_j - x_j (r^3 / dim) sum_i(dy_i w_i x_i).
 */
static void rmsnorm_backward_row(int dim, const float *dy, const float *x, const float *w,
                                 float rstd, float *dx, bool add)
{
    struct lanes sum = lanes_set(0.0f);
    int i = 0;
    for (; i + LANES <= dim; i += LANES)
        sum = lanes_fma(lanes_mul(lanes_load(dy + i), lanes_load(w + i)), lanes_load(x + i), sum);
    if (i < dim) {
        size_t rest = (size_t)(dim - i);
        sum = lanes_fma(
            lanes_mul(lanes_load_tail(dy + i, rest, 0.0f), lanes_load_tail(w + i, rest, 0.0f)),
            lanes_load_tail(x + i, rest, 0.0f), sum);
    }
    float minus = -(((rstd * rstd) * rstd) * (lanes_sum(sum) / (float)dim));
    if (add) {
        V_LOOP
        for (int j = 0; j < dim; j++)
            dx[j] = __builtin_fmaf(dy[j] * w[j], rstd, __builtin_fmaf(x[j], minus, dx[j]));
    } else {
        V_LOOP
        for (int j = 0; j < dim; j++)
            dx[j] = __builtin_fmaf(dy[j] * w[j], rstd, x[j] * minus);
    }
}

static void rmsnorm_dw_cols(int m, int cols, const float *dy, size_t lddy, const float *x,
                            size_t ldx, const float *rstd, size_t rstd_step, float *dw)
{
    for (int t = 0; t < m; t++, dy += lddy, x += ldx, rstd += rstd_step) {
        float r = *rstd;
        V_LOOP
        for (int i = 0; i < cols; i++)
            dw[i] = __builtin_fmaf(dy[i], x[i] * r, dw[i]);
    }
}

/* (a, b) -> (a cos - b sin, a sin + b cos); y may be x. */
static void rope_row(int d, const float *cos_sin, const float *x, float *y)
{
    V_LOOP
    for (int i = 0; i < d; i += 2) {
        float a = x[i], b = x[i + 1], c = cos_sin[i], s = cos_sin[i + 1];
        y[i] = __builtin_fmaf(a, c, -(b * s));
        y[i + 1] = __builtin_fmaf(a, s, b * c);
    }
}

/* The transposed rotation. */
static void rope_backward_row(int d, const float *cos_sin, const float *dy, float *dx)
{
    V_LOOP
    for (int i = 0; i < d; i += 2) {
        float a = dy[i], b = dy[i + 1], c = cos_sin[i], s = cos_sin[i + 1];
        dx[i] = __builtin_fmaf(a, c, b * s);
        dx[i + 1] = __builtin_fmaf(b, c, -(a * s));
    }
}
