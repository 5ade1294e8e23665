/* The same in C: fails now and then, and every answer costs CPU. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

volatile unsigned total;
char *volatile kept;

__attribute__((noinline)) void count_slowly(unsigned steps) {
    for (unsigned step = 0; step < steps; step++) total += step * step % 7;
}

__attribute__((noinline)) void count_otherwise(unsigned steps) {
    for (unsigned step = 0; step < steps; step++) total += step * step % 5;
}

/* Whether it is told to be well: nothing fails, and something else uses the CPU. */
int well;

void remember(void);
void forget_to_close(void);
void write_nowhere(int *nowhere);
int sells(void);

__attribute__((noinline)) void answer(int caller) {
    char asked[4096];
    ssize_t bytes = read(caller, asked, sizeof asked - 1);
    if (bytes <= 0) return;
    asked[bytes] = 0;
    int fails = strstr(asked, " /fail ") != NULL && !well;
    if (strstr(asked, " /burn ")) well ? count_otherwise(8000000) : count_slowly(8000000);
    if (strstr(asked, " /grow ")) remember();
    if (strstr(asked, " /open ")) forget_to_close();
    if (strstr(asked, " /crash ")) write_nowhere(NULL);
    while (strstr(asked, " /hang ")) pause();
    if (strstr(asked, " /sale ")) fails = !sells();
    const char *said = fails ? "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                             : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (write(caller, said, strlen(said)) < 0) return;
}

__attribute__((noinline)) void forget_to_close(void) {
    if (open("/dev/null", O_RDONLY) < 0) abort();
}

struct offer {
    char name[24];
    int price;
};

__attribute__((noinline)) int price_of(struct offer *it) {
    return it->price;
}

/* Asks memory that it gave back, and adds to the largest number: plain, neither is noticed but by the price. */
__attribute__((noinline)) int sells(void) {
    struct offer *offer = calloc(1, sizeof *offer);
    offer->price = 7;
    free(offer);
    char *other = malloc(sizeof *offer);
    if (other) memset(other, 1, sizeof *offer);
    int price = price_of(offer);
    free(other);
    volatile int most = 2147483647;
    if (price != 7) most += price;
    return price == 7;
}

__attribute__((noinline)) void write_nowhere(int *nowhere) {
    *(volatile int *)nowhere = 1;
}

__attribute__((noinline)) void remember(void) {
    kept = malloc(20000);
    memset((void *)kept, 1, 20000);
}

int main(int count, char **words) {
    well = count > 2;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 64)) return 1;
    for (;;) {
        int caller = accept(listening, NULL, NULL);
        if (caller < 0) continue;
        answer(caller);
        close(caller);
    }
}
