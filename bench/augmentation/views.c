/* Make the views of images on a processor, each image while its cache has it.

What is computed is what torch_views.py computes, to the bit: an operation here is one of torch's, in its
order, and fmaf stands where libtorch multiplies and adds in one rounding. So no compiler may contract,
reorder or approximate anything. compiled_views.py has this file compiled, compares the two, and calls it.

Images are planes of float32 in [0, 1]: red, green and blue, or grey alone. The mean that contrast needs is
left to torch, which sums in an order of its own: start_views makes images up to it, finish_views the rest. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__FMA__) && !defined(__ARM_FEATURE_FMA)
#error "fmaf would be a call for each value"
#endif

enum { RGB = 3, BLENDS = 3, TURNS = 4, LANES = 8, LINE = 64 };
enum { FLIP = 1, JITTER = 2, GREY = 4, BLUR = 8, SOLARISE = 16 };

/* A batch of n results, each a row of the arrays. Batch in compiled_views.py has the same fields. */
typedef struct {
    const uint8_t *pixels;       /* (images, channels, height, width) */
    float *out;                  /* (n, channels, size, size) */
    float *greys;                /* (rows from first_grey on, size, size), of which torch takes the mean */
    const float *mean;           /* (n), of those; 0 before it is known */
    const int64_t *image;        /* (n), of the pixels */
    const int64_t *place;        /* (n), of the result in `out` */
    const uint8_t *changes;      /* (n), flags: what is done to the image */
    const uint8_t *hue_turn;     /* (n), before which blend the hue is shifted; TURNS is never */
    const uint8_t *mean_turn;    /* (n), which blend is contrast; BLENDS is none */
    const float *blends;         /* (BLENDS, 3, n), weights of an image, its grey image and the mean grey */
    const float *hue_offsets;    /* (n, 3), of `hue_offsets` in image_ops.py */
    const int32_t *row_first;    /* (n, size), the first of row_taps rows in sequence; null is no crop */
    const float *row_weight;     /* (n, size, row_taps) */
    const int32_t *column_first; /* (n, size), likewise */
    const float *column_weight;  /* (n, column_taps, size) */
    const float *blur_weight;    /* (n, 2 * radius + 1) */
    int64_t n, first_grey, channels, height, width, size, row_taps, column_taps, radius;
} Batch;

/* A thread's memory: for a plane to blur and a row of it with both borders, or for a row of pixels. */
typedef struct {
    float *values;
    const float **rows;
} Scratch;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static inline float clamp(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

static inline float luminance(float red, float green, float blue) {
    return fmaf(blue, 0.114f, fmaf(green, 0.587f, 0.2989f * red));
}

/* ---- colours, of `count` pixels of all channels */

static void write_luminance(float *restrict to, float *const *x, int64_t channels, int64_t count) {
    const float *red = x[0], *green = x[1], *blue = x[2];
    if (channels != RGB)
        memcpy(to, x[0], count * sizeof *to);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = luminance(red[i], green[i], blue[i]);
}

static void blend(float *const *x, int64_t channels, int64_t count, float keep, float by_grey, float mean) {
    float *restrict red = x[0], *restrict green = x[1], *restrict blue = x[2];
    if (channels != RGB)
        for (int64_t i = 0; i < count; i++)
            red[i] = clamp(fmaf(red[i], keep, fmaf(red[i], by_grey, mean)), 0, 1);
    else
        for (int64_t i = 0; i < count; i++) {
            float reference = fmaf(luminance(red[i], green[i], blue[i]), by_grey, mean);
            red[i] = clamp(fmaf(red[i], keep, reference), 0, 1);
            green[i] = clamp(fmaf(green[i], keep, reference), 0, 1);
            blue[i] = clamp(fmaf(blue[i], keep, reference), 0, 1);
        }
}

static inline float of_hue(float hue, float offset, float chroma, float dark) {
    return fmaf(clamp(fabsf(fabsf(hue + offset) - 3), 1, 2), chroma, dark);
}

static void shift_hue(float *const *x, int64_t count, const float *offset) {
    float *restrict red = x[0], *restrict green = x[1], *restrict blue = x[2];
    float of_red = offset[0], of_green = offset[1], of_blue = offset[2];
    for (int64_t i = 0; i < count; i++) {
        float r = red[i], g = green[i], b = blue[i];
        float high = r > g ? r : g, low = r < g ? r : g;
        high = high > b ? high : b;
        low = low < b ? low : b;
        float chroma = high - low, divisor = chroma < 1e-30f ? 1e-30f : chroma;
        float hue = copysignf((g + b - r + high - 2 * low) / divisor, g - b);
        red[i] = of_hue(hue, of_red, chroma, low - chroma);
        green[i] = of_hue(hue, of_green, chroma, low - chroma);
        blue[i] = of_hue(hue, of_blue, chroma, low - chroma);
    }
}

static void make_grey(float *const *x, int64_t count) {
    float *restrict red = x[0], *restrict green = x[1], *restrict blue = x[2];
    for (int64_t i = 0; i < count; i++)
        red[i] = green[i] = blue[i] = luminance(red[i], green[i], blue[i]);
}

/* Solarise a row, or do not, and bring it into [0, 1]: weights that add up to 1 do so only nearly. */
static void settle(float *x, int64_t count, int solarised) {
    const float dark = (float)(128.0 / 255 - 0x1p-24);
    if (solarised)
        for (int64_t i = 0; i < count; i++)
            x[i] = (x[i] <= dark ? 0.5f : x[i]) * -2 + 1 + x[i];
    for (int64_t i = 0; i < count; i++)
        x[i] = clamp(x[i], 0, 1);
}

/* ---- crop and flip. A tap of weight 0 adds nothing, to the bit: it is left out where that saves time. */

static void read_row(float *restrict to, const uint8_t *restrict from, int64_t width, int mirrored) {
    for (int64_t i = 0; i < width; i++)
        to[i] = from[mirrored ? width - 1 - i : i] / 255.0f;
}

static void mix_pixel_rows(float *restrict to, const uint8_t *restrict from, int64_t stride, int64_t width,
                           const float *restrict weight, int64_t taps) {
    for (int64_t i = 0; i < width; i++)
        to[i] = weight[0] * (from[i] / 255.0f);
    for (int64_t tap = 1; tap < taps; tap++)
        if (weight[tap] != 0)
            for (int64_t i = 0; i < width; i++)
                to[i] = fmaf(weight[tap], from[tap * stride + i] / 255.0f, to[i]);
}

static void mix_columns(float *restrict to, const float *restrict from, int64_t size,
                        const int32_t *restrict first, const float *restrict weight, int64_t taps) {
    for (int64_t i = 0; i < size; i++)
        to[i] = weight[i] * from[first[i]];
    for (int64_t tap = 1; tap < taps; tap++) {
        weight += size;
        for (int64_t i = 0; i < size; i++)
            to[i] = fmaf(weight[i], from[first[i] + tap], to[i]);
    }
}

/* Return how many taps there are before those that have no weight anywhere. */
static int64_t count_taps(const float *weight, int64_t size, int64_t taps) {
    for (; taps > 1; taps--)
        for (int64_t i = 0; i < size; i++)
            if (weight[(taps - 1) * size + i] != 0)
                return taps;
    return taps;
}

/* Make row y of a result in all channels x, of which each column has so many taps: crop, resize, mirror. */
static void crop_row(const Batch *batch, int64_t row, int64_t y, float *const *x, int64_t taps,
                     float *mixed) {
    int64_t size = batch->size, width = batch->width, plane = batch->height * width;
    const uint8_t *image = batch->pixels + batch->image[row] * batch->channels * plane;
    if (!batch->row_first) {
        for (int64_t channel = 0; channel < batch->channels; channel++)
            read_row(x[channel], image + channel * plane + y * width, width, batch->changes[row] & FLIP);
        return;
    }
    const float *down = batch->row_weight + (row * size + y) * batch->row_taps;
    const float *across = batch->column_weight + row * size * batch->column_taps;
    const int32_t *first = batch->column_first + row * size; /* rises, or falls where the image is mirrored */
    int64_t left = least(first[0], first[size - 1]);
    int64_t right = most(first[0], first[size - 1]) + taps;
    image += batch->row_first[row * size + y] * width + left;
    for (int64_t channel = 0; channel < batch->channels; channel++) {
        mix_pixel_rows(mixed + left, image + channel * plane, width, right - left, down, batch->row_taps);
        mix_columns(x[channel], mixed, size, first, across, taps);
    }
}

/* ---- blur */

typedef struct {
    float at[LANES];
} Lanes;

static inline Lanes add_weighted(Lanes sum, float weight, const float *x) {
    for (int lane = 0; lane < LANES; lane++)
        sum.at[lane] = fmaf(weight, x[lane], sum.at[lane]);
    return sum;
}

/* Add up rows of `count` values by their weights: the sums of four times LANES values stay in registers. */
static void mix_rows(float *restrict to, const float *const *rows, int64_t count, const float *weight,
                     int64_t taps) {
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        Lanes a = {0}, b = {0}, c = {0}, d = {0};
        for (int64_t tap = 0; tap < taps; tap++) {
            const float *x = rows[tap] + i;
            a = add_weighted(a, weight[tap], x);
            b = add_weighted(b, weight[tap], x + LANES);
            c = add_weighted(c, weight[tap], x + 2 * LANES);
            d = add_weighted(d, weight[tap], x + 3 * LANES);
        }
        memcpy(to + i, &a, sizeof a);
        memcpy(to + i + LANES, &b, sizeof b);
        memcpy(to + i + 2 * LANES, &c, sizeof c);
        memcpy(to + i + 3 * LANES, &d, sizeof d);
    }
    for (; i < count; i++) {
        float sum = 0;
        for (int64_t tap = 0; tap < taps; tap++)
            sum = fmaf(weight[tap], rows[tap][i], sum);
        to[i] = sum;
    }
}

static int64_t reflect(int64_t at, int64_t size) {
    at = at < 0 ? -at : at;
    return at < size ? at : 2 * (size - 1) - at;
}

/* Blur a plane in place, and settle it. */
static void blur(float *plane, int64_t size, const float *weight, int64_t radius, int solarised,
                 Scratch scratch) {
    for (; radius > 0 && *weight == 0; radius--) /* at both ends of the kernel */
        weight++;
    int64_t taps = 2 * radius + 1;
    float *padded = scratch.values + size * size, *middle = padded + radius;
    memcpy(scratch.values, plane, size * size * sizeof *plane);
    for (int64_t y = 0; y < size; y++) {
        for (int64_t tap = 0; tap < taps; tap++)
            scratch.rows[tap] = scratch.values + reflect(y + tap - radius, size) * size;
        mix_rows(middle, scratch.rows, size, weight, taps);
        for (int64_t beyond = 1; beyond <= radius; beyond++) {
            middle[-beyond] = middle[beyond];
            middle[size - 1 + beyond] = middle[size - 1 - beyond];
        }
        for (int64_t tap = 0; tap < taps; tap++)
            scratch.rows[tap] = padded + tap;
        mix_rows(plane + y * size, scratch.rows, size, weight, taps);
        settle(plane + y * size, size, solarised);
    }
}

/* ---- an image */

/* Jitter a row of a result: even steps shift its hue if it is their turn, odd ones blend. */
static void jitter(const Batch *batch, int64_t row, float *const *x, int step, int end) {
    for (; step < end; step++) {
        int turn = step / 2;
        const float *weight = batch->blends + turn * 3 * batch->n + row;
        if (step % 2 == 0 && turn == batch->hue_turn[row])
            shift_hue(x, batch->size, batch->hue_offsets + 3 * row);
        if (step % 2 == 1 && turn < BLENDS)
            blend(x, batch->channels, batch->size, weight[0], weight[batch->n],
                  batch->mean[row] * weight[2 * batch->n]);
    }
}

/* Return the step of `jitter` that needs the mean grey, or one that does nothing. */
static int mean_step(const Batch *batch, int64_t row) { return 2 * batch->mean_turn[row] + 1; }

static void finish(const Batch *batch, int64_t row, Scratch scratch) {
    int64_t size = batch->size, plane = size * size;
    int changes = batch->changes[row];
    float *out = batch->out + batch->place[row] * batch->channels * plane;
    for (int64_t y = 0; y < size; y++) {
        float *x[RGB] = {0};
        for (int64_t channel = 0; channel < batch->channels; channel++)
            x[channel] = out + channel * plane + y * size;
        if (changes & JITTER)
            jitter(batch, row, x, mean_step(batch, row), 2 * TURNS);
        if (changes & GREY)
            make_grey(x, size);
        for (int64_t channel = 0; channel < batch->channels && !(changes & BLUR); channel++)
            settle(x[channel], size, changes & SOLARISE);
    }
    const float *weight = batch->blur_weight + row * (2 * batch->radius + 1);
    for (int64_t channel = 0; channel < batch->channels && changes & BLUR; channel++)
        blur(out + channel * plane, size, weight, batch->radius, changes & SOLARISE, scratch);
}

static void start(const Batch *batch, int64_t row, Scratch scratch) {
    int64_t size = batch->size, plane = size * size;
    int pauses = batch->mean_turn[row] < BLENDS;
    float *out = batch->out + batch->place[row] * batch->channels * plane;
    float *grey = batch->greys + (row - batch->first_grey) * plane;
    const float *across = batch->column_weight + row * size * batch->column_taps;
    int64_t taps = batch->row_first ? count_taps(across, size, batch->column_taps) : 0;
    for (int64_t y = 0; y < size; y++) {
        float *x[RGB] = {0};
        for (int64_t channel = 0; channel < batch->channels; channel++)
            x[channel] = out + channel * plane + y * size;
        crop_row(batch, row, y, x, taps, scratch.values);
        if (batch->changes[row] & JITTER)
            jitter(batch, row, x, 0, mean_step(batch, row));
        if (pauses)
            write_luminance(grey + y * size, x, batch->channels, size);
    }
    if (!pauses)
        finish(batch, row, scratch);
}

/* Take one result after the other, in turn with other threads. Returns whether memory was lacking. */
static int take_rows(const Batch *batch, int64_t *next, int64_t end, int starting) {
    int64_t size = batch->size, taps = 2 * batch->radius + 1;
    size_t bytes = most(batch->width, size * size + size + taps) * sizeof(float);
    Scratch scratch = {aligned_alloc(LINE, (bytes / LINE + 1) * LINE), malloc(taps * sizeof *scratch.rows)};
    int lacking = !scratch.values || !scratch.rows;
    for (int64_t row; !lacking && (row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < end;) {
        if (starting)
            start(batch, row, scratch);
        else if (batch->mean_turn[row] < BLENDS)
            finish(batch, row, scratch);
    }
    free(scratch.values);
    free(scratch.rows);
    return lacking;
}

/* Make results from row *next on, to the end or to where the mean has to be known. */
int start_views(const Batch *batch, int64_t *next, int64_t end) { return take_rows(batch, next, end, 1); }

/* Make the rest of those whose mean had to be known. */
int finish_views(const Batch *batch, int64_t *next, int64_t end) { return take_rows(batch, next, end, 0); }
