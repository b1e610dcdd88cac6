// SPDX-License-Identifier: MIT
// Runs a compiled model from raw files, as the executor and the team of a session do.
//
// driver LIBRARY THREADS RUNS STEPS ARENA_BYTES PARAMETERS INPUT... -- OUTPUT BYTES...
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, TEAM_BYTES = 256, MOST = 64, NAN_BYTE = 0xff };

struct call {
    int32_t first, last, threads;
    void *team;
    void *table[2 + 2 * MOST];
};

static void (*run)(void *);
static void (*work)(void *, int32_t);
static void (*dismiss)(void *);
static void *team;

static void fail(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static void *memory(size_t bytes, int value) {
    void *block = aligned_alloc(ALIGNMENT, (bytes / ALIGNMENT + 1) * ALIGNMENT);
    if (!block) fail("no memory");
    return memset(block, value, bytes);
}

static void *contents(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    size_t bytes = (size_t)ftell(file);
    void *block = memory(bytes, 0);
    rewind(file);
    if (fread(block, 1, bytes, file) != bytes) fail(path);
    fclose(file);
    return block;
}

static void write_file(const char *path, const void *block, size_t bytes) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(block, 1, bytes, file) != bytes || fclose(file)) fail(path);
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) fail(dlerror());
    return found;
}

static void *serve(void *number) {
    work(team, (int32_t)(intptr_t)number);
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 8) fail("arguments are missing");
    // Kernels call functions of the C library by name, as they find them in a Python process.
    if (!dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL)) fail(dlerror());
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library) fail(dlerror());
    run = (void (*)(void *))symbol(library, "ranvier_run");
    work = (void (*)(void *, int32_t))symbol(library, "ranvier_work");
    dismiss = (void (*)(void *))symbol(library, "ranvier_dismiss");
    team = memory(TEAM_BYTES, 0);

    struct call call = {.first = 0, .last = atoi(arguments[4]), .threads = atoi(arguments[2])};
    int entry = 0, at = 7;
    call.team = team;
    call.table[entry++] = contents(arguments[6]);
    // What a kernel reads before anything wrote it is not a number.
    call.table[entry++] = memory(strtoull(arguments[5], NULL, 10), NAN_BYTE);
    for (; at < count && strcmp(arguments[at], "--"); at++)
        call.table[entry++] = contents(arguments[at]);
    int outputs = entry, names = ++at;
    for (; at + 1 < count; at += 2)
        call.table[entry++] = memory(strtoull(arguments[at + 1], NULL, 10), NAN_BYTE);

    pthread_t threads[MOST];
    for (int k = 1; k < call.threads; k++)
        if (pthread_create(&threads[k], NULL, serve, (void *)(intptr_t)k)) fail("no thread");
    for (int k = atoi(arguments[3]); k > 0; k--) run(&call);
    if (call.threads > 1) dismiss(team);
    for (int k = 1; k < call.threads; k++) pthread_join(threads[k], NULL);

    for (at = names; at + 1 < count; at += 2)
        write_file(arguments[at], call.table[outputs++], strtoull(arguments[at + 1], NULL, 10));
    return 0;
}
