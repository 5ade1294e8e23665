/* A server that answers from memory that it gave back, which nobody notices: the answer of one call is wrong. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct offer {
    char name[24];
    int price;
};

struct offer *offer;

__attribute__((noinline)) void forget_offer(void) {
    free(offer);
}

__attribute__((noinline)) int price_of(struct offer *it) {
    return it->price;
}

__attribute__((noinline)) void answer(int caller) {
    char asked[4096], said[256];
    ssize_t bytes = read(caller, asked, sizeof asked - 1);
    if (bytes <= 0) return;
    asked[bytes] = 0;
    int price = 7;
    if (strstr(asked, " /sale ")) {
        offer = calloc(1, sizeof *offer);
        offer->price = 7;
        forget_offer();
        char *other = malloc(sizeof *offer);
        if (other) memset(other, 1, sizeof *offer);
        price = price_of(offer);
        free(other);
    }
    volatile int most = 2147483647;
    if (price != 7) most += price;
    int status = price == 7 ? 200 : 500;
    int length = snprintf(said, sizeof said, "HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
    if (write(caller, said, length) < 0) return;
}

int main(int count, char **words) {
    (void)count;
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
