/*
 * Part of kernels_body.h: rows of logits. exp in fp32, sums of it in double (16 lanes), logs by
 * fm_log once per row.
 */

static float max_row(size_t n, const float *x)
{
    struct lanes best = lanes_set(x[0]);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        best = lanes_max(lanes_load(x + i), best);
    if (i < n)
        best = lanes_max(lanes_load_tail(x + i, n - i, x[0]), best);
    float t[LANES];
    lanes_store(t, best);
    float largest = t[0];
    for (int j = 1; j < LANES; j++)
        largest = t[j] > largest ? t[j] : largest;
    return largest;
}

static float exp_row(size_t n, const float *x, float scale, float shift, float *y)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        y[i] = fm_expf(__builtin_fmaf(x[i], scale, -shift));
    struct lanes sum = lanes_set(0.0f), one = lanes_set(1.0f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum = lanes_fma(lanes_load(y + i), one, sum);
    if (i < n)
        sum = lanes_fma(lanes_load_tail(y + i, n - i, 0.0f), one, sum);
    return lanes_sum(sum);
}

/* Rows are worked through in slices of this many elements (exp to a buffer, then the sums). */
#define SLICE 256

/* lane[i % 16] += y[i]; n a multiple of 16 or the last slice of a row. */
static inline void lanes_add_double(double *lane, size_t n, const float *y)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)y[i + (size_t)j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)y[i];
}

/* e = exp(x - shift), returns the sum in double; e may be x; NULL: only the sum. */
static double exp_sum(size_t n, const float *x, float shift, float *e)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i += SLICE) {
        size_t here = n - i < SLICE ? n - i : SLICE;
        float t[SLICE];
        for (size_t j = 0; j < here; j++)
            t[j] = fm_expf(x[i + j] - shift);
        lanes_add_double(lane, here, t);
        if (e)
            memcpy(e + i, t, here * sizeof *t);
    }
    return lanes_sum_double(lane);
}

/* loss = log sum exp(x - max) - (x_target - max); d loss / d x = softmax - onehot. */
static double cross_entropy_row(int vocab, float *logits, int32_t target, float dscale,
                                bool *correct)
{
    size_t n = (size_t)vocab;
    float largest = max_row(n, logits);
    float at_target = logits[target];
    if (correct) {
        *correct = at_target == largest;
        for (int32_t i = 0; i < target && *correct; i++)
            *correct = logits[i] != largest;
    }
    double sum = exp_sum(n, logits, largest, dscale != 0.0f ? logits : NULL);
    if (dscale != 0.0f) {
        float factor = (float)((double)dscale / sum);
        scale_row(n, factor, logits);
        logits[target] -= dscale;
    }
    return fm_log(sum) - ((double)at_target - (double)largest);
}

/*
 * With a = student - max, b = teacher - max, p = exp(a)/Zs:
 * kl = sum p (log p - log q) = sum_i exp(a_i)(a_i - b_i) / Zs - (log Zs - log Zt),
 * d kl / d student_j = p_j ((a_j - b_j) - (log Zs - log Zt) - kl).
 */
static double reverse_kl_row(int vocab, float *student, float *teacher, float dscale)
{
    size_t n = (size_t)vocab;
    float max_s = max_row(n, student), max_t = max_row(n, teacher);
    double lane_s[LANES] = {0}, lane_t[LANES] = {0}, lane_d[LANES] = {0};
    for (size_t i = 0; i < n; i += SLICE) {
        size_t here = n - i < SLICE ? n - i : SLICE;
        float es[SLICE], et[SLICE], diff[SLICE];
        for (size_t j = 0; j < here; j++) {
            float a = student[i + j] - max_s, b = teacher[i + j] - max_t;
            es[j] = fm_expf(a);
            et[j] = fm_expf(b);
            diff[j] = a - b;
        }
        lanes_add_double(lane_s, here, es);
        lanes_add_double(lane_t, here, et);
        for (size_t j = 0; j < here; j++)
            lane_d[j % LANES] += (double)es[j] * (double)diff[j];
        memcpy(teacher + i, diff, here * sizeof *diff);
        if (dscale != 0.0f)
            memcpy(student + i, es, here * sizeof *es);
    }
    double sum_s = lanes_sum_double(lane_s), sum_t = lanes_sum_double(lane_t);
    double logs = fm_log(sum_s) - fm_log(sum_t);
    double kl = lanes_sum_double(lane_d) / sum_s - logs;
    if (dscale != 0.0f) {
        float factor = (float)((double)dscale / sum_s), shift = (float)(logs + kl);
        V_LOOP
        for (size_t i = 0; i < n; i++)
            student[i] = (student[i] * factor) * (teacher[i] - shift);
    }
    return kl;
}

static double overlap_row(int vocab, const float *student, const float *teacher)
{
    size_t n = (size_t)vocab;
    float max_s = max_row(n, student), max_t = max_row(n, teacher);
    float inv_s = (float)(1.0 / exp_sum(n, student, max_s, NULL));
    float inv_t = (float)(1.0 / exp_sum(n, teacher, max_t, NULL));
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i += SLICE) {
        size_t here = n - i < SLICE ? n - i : SLICE;
        float least[SLICE];
        for (size_t j = 0; j < here; j++) {
            float p = fm_expf(student[i + j] - max_s) * inv_s;
            float q = fm_expf(teacher[i + j] - max_t) * inv_t;
            least[j] = p < q ? p : q;
        }
        lanes_add_double(lane, here, least);
    }
    return lanes_sum_double(lane);
}
