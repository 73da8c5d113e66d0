/*
 * Part of kernels_body.h, through kernels_int16.h: the sums by AMX, whose tiles multiply bytes. q =
 * 256 h + l with h signed and l not, so a sum is 256 (sum of h * level) + (sum of l * level),
 * modulo 2^32: exact, since the sum itself fits. The processor's tiles are 16 rows x 64 steps of A,
 * and of B 64 steps x 16 columns with four steps of a column side by side. Which four is how the
 * codes lie (weight.h): steps i, i + 4, i + 8, i + 12 of 16 with 2 bits, i, i + 2, i + 4, i + 6 of
 * 8 with 4 bits, and where the steps are outputs, four in order. Rows are packed as ap[16 rows][64
 * steps][h, l], columns as bp[64 steps][16 columns], tile by tile, columns 0 behind the last step.
 */

typedef unsigned char packed_t;

#define TILE_STEPS 64
#define TILE_BYTES (16 * TILE_STEPS)
/* From 2 rows on codes are unpacked into tiles. */
#define INT16_STRAIGHT_ROWS 1

static inline size_t tile_steps(int k)
{
    return ((size_t)k + TILE_STEPS - 1) / TILE_STEPS * TILE_STEPS;
}

/* Of one row of A, and of a panel of B. */
static inline size_t packed_row(int k)
{
    return 2 * tile_steps(k);
}
static inline size_t packed_panel(int k)
{
    return tile_steps(k) * GEMM_PANEL;
}

/* Tiles 6 and 7 are of B; the others have as many rows as A, up to 16: fewer
 * take less time. */
static inline void int16_begin(int rows)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = (uint8_t)(rows < 16 && i < 6 ? rows : 16);
    }
    __asm__ volatile("" ::"m"(config)); /* gcc's intrinsic says that it reads 8 bytes of it */
    _tile_loadconfig(&config);
}
static inline void int16_end(void)
{
    _tile_release();
}

/* Where a step and the three beside it begin: of the first or second 16 columns. */
static inline packed_t *tile_row(packed_t *bp, int step, int column)
{
    return bp + (size_t)(step / TILE_STEPS) * 2 * TILE_BYTES + column / 16 * TILE_BYTES +
           step % TILE_STEPS / 4 * 64;
}

/* 16 outputs against k inputs, whose codes of so many bits are in groups of 64 bytes. level: by
 * code, in each 16 bytes. */
static inline void tile_outputs(const unsigned char *codes, int k, int bits, __m512i level,
                                packed_t *bp, int column)
{
    const __m512i mask = _mm512_set1_epi8((char)((1 << bits) - 1));
    for (int step = 0; step < k; step += 32 / bits, codes += 64) {
        __m512i group = _mm512_loadu_si512(codes);
        CODES_AHEAD(codes);
        packed_t *to = tile_row(bp, step, column);
        for (int i = 0; i < 8 / bits; i++, group = _mm512_srli_epi32(group, (unsigned)bits))
            _mm512_storeu_si512(to + i * 64,
                                _mm512_shuffle_epi8(level, _mm512_and_si512(group, mask)));
    }
}

/* Outputs [col, col + n) against all inputs. */
static void int16_pack_outputs(const struct weight *w, int col, int n, packed_t *bp)
{
    const __m512i level_q2 = _mm512_set1_epi32(0x0301FFFD), /* -3, -1, 1, 3 */
        level_q4 = _mm512_broadcast_i32x4(
            _mm_setr_epi8(-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15));
    if (n < GEMM_PANEL || w->k % TILE_STEPS != 0)
        memset(bp, 0, packed_panel(w->k));
    for (int c = 0; c < n; c += 16)
        if (w->form == WEIGHT_Q4)
            tile_outputs(codes_at(w, col + c, 0), w->k, 4, level_q4, bp, c);
        else
            tile_outputs(codes_at(w, col + c, 0), w->k, 2, level_q2, bp, c);
}

/* Inputs [col, col + n) against all outputs; 2 bits only. A row of a tile takes from four outputs
 * the byte with an input's code, for each of 16 inputs, and turns that to where the level comes
 * from: bits 1 and 2, which are twice the code. */
static void int16_pack_inputs(const struct weight *w, int col, int n, packed_t *bp)
{
    const __m512i mask = _mm512_set1_epi8(6), three = _mm512_set1_epi8(3);
    unsigned char from[4][64];
    int32_t turn[16];
    for (int i = 0; i < 16; i++) {
        turn[i] = (2 * (i % 4) + 31) % 32;
        for (int j = 0; j < 16; j++)
            from[j / 4][4 * i + j % 4] = (unsigned char)(4 * j + i / 4);
    }
    const __m512i turns = _mm512_loadu_si512(turn);
    if (n < GEMM_PANEL || w->n % TILE_STEPS != 0)
        memset(bp, 0, packed_panel(w->n));
    for (int o = 0; o < w->n; o += 16)
        for (int c = 0; c < n; c += 16) {
            const unsigned char *codes = codes_at(w, o, col + c);
            __m512i group = _mm512_loadu_si512(codes);
            __builtin_prefetch(codes + (size_t)w->k * 32); /* 8 groups on: they lie apart */
            packed_t *to = tile_row(bp, o, c);
            for (int r = 0; r < 4; r++) {
                __m512i bytes = _mm512_permutexvar_epi8(_mm512_loadu_si512(from[r]), group);
                bytes = _mm512_and_si512(_mm512_rorv_epi32(bytes, turns), mask);
                _mm512_storeu_si512(to + r * 64, _mm512_sub_epi8(bytes, three));
            }
        }
}

/* A row's part of the tiles at `out`. */
static void tile_quantised(int k, const float *x, const float *factor, float inverse, __m128i order,
                           packed_t *out)
{
    const __m512 times = _mm512_set1_ps(inverse), rounding = _mm512_set1_ps(ROUNDING);
    for (int g = 0; g < k; g += 16) {
        __m512 v = _mm512_loadu_ps(x + g);
        if (factor)
            v = _mm512_mul_ps(v, _mm512_loadu_ps(factor + g));
        v = _mm512_add_ps(_mm512_mul_ps(v, times), rounding);
        __m512i q = _mm512_castps_si512(v);
        __m128i high = _mm512_cvtepi32_epi8(_mm512_srli_epi32(q, 8));
        packed_t *to = out + (size_t)(g / TILE_STEPS) * 2 * TILE_BYTES + g % TILE_STEPS;
        _mm_storeu_si128((__m128i *)(void *)to, _mm_shuffle_epi8(high, order));
        _mm_storeu_si128((__m128i *)(void *)(to + TILE_BYTES),
                         _mm_shuffle_epi8(_mm512_cvtepi32_epi8(q), order));
    }
}

/* Rows [row, row + rows) and their scales. Of the last tiles what lies behind the rows is in no sum
 * that is taken, and what lies behind the steps meets columns that are 0 there. */
static void int16_pack_rows(const struct gemm_job *job, int row, int rows, float *row_scale,
                            packed_t *ap, packed_t *spare)
{
    const struct weight *w = &job->b;
    const float *factor = job->b_by_k && w->n_scales > 1 ? w->scale : NULL;
    const __m128i order = job->b_by_k
                              ? _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
                          : w->form == WEIGHT_Q4
                              ? _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15)
                              : _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    (void)spare;
    for (int y = 0; y < rows; y++) {
        const float *x = job->a + (size_t)(row + y) * job->lda;
        float inverse;
        row_scale[y] = int16_row_scale(job->k, x, factor, &inverse);
        tile_quantised(job->k, x, factor, inverse, order,
                       ap + (size_t)(y / 16 * 16) * packed_row(job->k) + y % 16 * TILE_STEPS);
    }
}

/* s[i][j] of `rows` rows and NR columns. */
static void int16_sums(int k, int rows, const packed_t *a, const packed_t *b, int32_t *s)
{
    int32_t low[16 * NR] __attribute__((aligned(64)));
    __asm__ volatile("" ::: "memory"); /* gcc's loads of tiles do not say that they read */
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int step = 0; step < k; step += TILE_STEPS, a += 2 * TILE_BYTES, b += 2 * TILE_BYTES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + TILE_BYTES, 64);
        _tile_loadd(5, a + TILE_BYTES, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, s, NR * sizeof *s);
    _tile_stored(1, s + 16, NR * sizeof *s);
    _tile_stored(2, low, NR * sizeof *low);
    _tile_stored(3, low + 16, NR * sizeof *low);
    for (int i = 0; i < rows * NR; i++)
        s[i] = (int32_t)(((uint32_t)s[i] << 8) + (uint32_t)low[i]);
}
