// SPDX-License-Identifier: MIT
// Loops that do one thing as fast as the processor can: multiply and add, read, or scale.
// Vectors are as wide as the target's; chains are many enough to hide the latency of an addition.

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define CHAINS 10

typedef float vec __attribute__((vector_size(4 * WIDTH)));

// 2 * WIDTH * CHAINS floating point operations per repetition.
float multiply_add(long repetitions, float factor, float term) {
    vec sums[CHAINS], a = factor - (vec){0}, b = term - (vec){0};
    for (int k = 0; k < CHAINS; k++) sums[k] = b * (float)k;
    for (long r = 0; r < repetitions; r++) {
#pragma unroll
        for (int k = 0; k < CHAINS; k++) sums[k] = sums[k] * a + b;
    }
    vec all = sums[0];
    for (int k = 1; k < CHAINS; k++) all += sums[k];
    return all[0] + all[WIDTH - 1];
}

// Reads `count` floats, a multiple of WIDTH * CHAINS, `repetitions` times.
float read_all(const float *data, long count, long repetitions) {
    vec sums[CHAINS] = {0};
    for (long r = 0; r < repetitions; r++) {
        for (long i = 0; i < count; i += WIDTH * CHAINS) {
#pragma unroll
            for (int k = 0; k < CHAINS; k++) sums[k] += *(const vec *)(data + i + k * WIDTH);
        }
        __asm__ volatile("" ::: "memory");  // what was read may have changed: read it again
    }
    vec all = sums[0];
    for (int k = 1; k < CHAINS; k++) all += sums[k];
    return all[0];
}

// Reads and writes `count` floats, a multiple of WIDTH, `repetitions` times.
void scale_all(const float *data, float *results, long count, long repetitions) {
    for (long r = 0; r < repetitions; r++) {
        for (long i = 0; i < count; i += WIDTH) {
            *(vec *)(results + i) = *(const vec *)(data + i) * 1.5f;
        }
        __asm__ volatile("" ::: "memory");
    }
}

int width(void) { return WIDTH; }
int chains(void) { return CHAINS; }
