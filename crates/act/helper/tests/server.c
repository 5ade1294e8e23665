/* A server with a thread for each caller: one call computes, one lets time pass, one waits for a process. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

volatile unsigned total;

__attribute__((noinline)) void count_slowly(unsigned steps) {
    for (unsigned step = 0; step < steps; step++) total += step * step % 7;
}

__attribute__((noinline)) void count_otherwise(unsigned steps) {
    for (unsigned step = 0; step < steps; step++) total += step * step % 5;
}

__attribute__((noinline)) void pay(void) {
    usleep(60000);
    total++;
}

__attribute__((noinline)) void ask_elsewhere(void) {
    pid_t child = fork();
    if (child == 0) {
        usleep(60000);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    total++;
}

__attribute__((noinline)) void ask_nobody(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(1)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int asking = socket(AF_INET, SOCK_STREAM, 0);
    connect(asking, (struct sockaddr *)&at, sizeof at);
    close(asking);
}

__attribute__((noinline)) void look_up(void) {
    close(open("/etc/hostname", O_RDONLY));
}

__attribute__((noinline)) void *answer(void *words) {
    int caller = (int)(long)words;
    char asked[4096];
    ssize_t bytes;
    while ((bytes = read(caller, asked, sizeof asked - 1)) > 0) {
        asked[bytes] = 0;
        if (strstr(asked, " /burn ")) count_slowly(2000000);
        if (strstr(asked, " /other ")) count_otherwise(2000000);
        if (strstr(asked, " /pay ")) pay();
        if (strstr(asked, " /elsewhere ")) ask_elsewhere();
        if (strstr(asked, " /nobody ")) ask_nobody();
        if (strstr(asked, " /look ")) look_up();
        const char *said = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        if (write(caller, said, strlen(said)) < 0) break;
    }
    close(caller);
    return NULL;
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 64)) return 1;
    getsockname(listening, (struct sockaddr *)&at, &length);
    /* Its port is the first thing that it says. */
    char port[16];
    int number = ntohs(at.sin_port), digits = 0;
    for (int rest = number; rest; rest /= 10) digits++;
    port[digits] = '\n';
    for (int place = digits - 1; place >= 0; place--, number /= 10) port[place] = (char)('0' + number % 10);
    if (write(1, port, digits + 1) < 0) return 1;
    for (;;) {
        long caller = accept(listening, NULL, NULL);
        pthread_t thread;
        if (caller >= 0 && pthread_create(&thread, NULL, answer, (void *)caller) == 0) pthread_detach(thread);
    }
}
