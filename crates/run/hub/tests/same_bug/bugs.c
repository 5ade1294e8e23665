/* Small programs that fail, each in its own way; values come from SEED. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long seed;

__attribute__((noinline)) static void check_total(long total) { assert(total == seed + 1); }
__attribute__((noinline)) static void check_parts(long parts) { assert(parts > 0 && parts < seed); }

struct node { long value; struct node *next; };

__attribute__((noinline)) static long walk(struct node *node) {
    long sum = 0;
    while (node->value >= 0) { sum += node->value; node = node->next; }
    return sum;
}
__attribute__((noinline)) static void fill(char *text, long length) {
    for (long i = 0; i <= length; i++) text[i] = 'a';
}
__attribute__((noinline)) static long use(long *value) { return *value + 1; }
__attribute__((noinline)) static void drop(char *text) { free(text); }

static void null_walk(void) { struct node last = {seed, 0}; printf("%ld\n", walk(&last)); }
static void heap_over(void) { long n = 16 + seed % 100; char *t = malloc(n); fill(t, n); puts(t); }
static void used_freed(void) { long *v = malloc(8 * (1 + seed % 9)); *v = seed; free(v); printf("%ld\n", use(v)); }
static void freed_twice(void) { char *t = malloc(8 + seed % 64); drop(t); drop(t); }
static long shared;
static void *adder(void *unused) { for (int i = 0; i < 1000; i++) shared += seed; return unused; }
static void *counter(void *unused) { for (int i = 0; i < 1000; i++) shared -= 1; return unused; }
static void raced(void) {
    pthread_t one, other;
    pthread_create(&one, 0, seed % 2 ? adder : counter, 0);
    pthread_create(&other, 0, seed % 2 ? counter : adder, 0);
    pthread_join(one, 0);
    pthread_join(other, 0);
    printf("%ld\n", shared);
}
static void overflowed(void) { volatile int most = 2147483647; most += (int)(1 + seed); printf("%d\n", most); }
static void shifted(void) { volatile int by = 32 + (int)(seed % 8); printf("%d\n", 1 << by); }

int main(int count, char **args) {
    seed = atol(getenv("SEED"));
    const char *bug = count > 1 ? args[1] : "";
    if (!strcmp(bug, "assert_total")) check_total(seed);
    if (!strcmp(bug, "assert_parts")) check_parts(-seed);
    if (!strcmp(bug, "null_walk")) null_walk();
    if (!strcmp(bug, "heap_over")) heap_over();
    if (!strcmp(bug, "used_freed")) used_freed();
    if (!strcmp(bug, "freed_twice")) freed_twice();
    if (!strcmp(bug, "raced")) raced();
    if (!strcmp(bug, "overflowed")) overflowed();
    if (!strcmp(bug, "shifted")) shifted();
    return 0;
}
