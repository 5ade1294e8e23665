/* Threads that do everything rightly: exits with 0, whatever the order in which they run. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(holds)                                                       \
    do {                                                                   \
        if (!(holds)) {                                                    \
            fprintf(stderr, "line %d: %s\n", __LINE__, #holds);            \
            exit(1);                                                       \
        }                                                                  \
    } while (0)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int queue[8], length, closed;
static long sum;

static void *produce(void *unused) {
    for (int i = 1; i <= 100; i++) {
        pthread_mutex_lock(&mutex);
        while (length == 8) pthread_cond_wait(&changed, &mutex);
        queue[length++] = i;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void *consume(void *unused) {
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (!length && !closed) pthread_cond_wait(&changed, &mutex);
        if (!length) {
            pthread_mutex_unlock(&mutex);
            return unused;
        }
        sum += queue[--length];
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
}

static void a_queue(void) {
    pthread_t producers[2], consumers[2];
    for (int i = 0; i < 2; i++) {
        pthread_create(&producers[i], 0, produce, 0);
        pthread_create(&consumers[i], 0, consume, 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(producers[i], 0);
    pthread_mutex_lock(&mutex);
    closed = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 2; i++) pthread_join(consumers[i], 0);
    CHECK(sum == 2 * 100 * 101 / 2);
}

static atomic_int lock, stop, signals;
static int count;

static void *spin(void *unused) {
    for (int i = 0; i < 200; i++) {
        while (atomic_exchange(&lock, 1)) {}
        count++;
        atomic_store(&lock, 0);
    }
    return unused;
}

static void a_lock_that_spins(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, spin, 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    CHECK(count == 600);
}

static void *busy(void *unused) {
    while (!atomic_load(&stop)) {}
    return unused;
}

static void on_signal(int number) {
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static void signals_to_a_busy_thread(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, 0);
    pthread_t thread;
    pthread_create(&thread, 0, busy, 0);
    for (int i = 0; i < 10; i++) {
        int before = signals;
        pthread_kill(thread, SIGUSR1);
        while (signals == before) sched_yield();
    }
    atomic_store(&stop, 1);
    pthread_join(thread, 0);
    CHECK(signals == 10);
}

static int poll_fd, event_fd;

/* A call that a tracer would end early if it stopped threads that wait. */
static void *wait_for_event(void *unused) {
    struct epoll_event event;
    CHECK(epoll_wait(poll_fd, &event, 1, 10000) == 1);
    return unused;
}

static void an_event(void) {
    poll_fd = epoll_create1(0);
    event_fd = eventfd(0, 0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, event_fd, &event);
    pthread_t waiter, other;
    atomic_store(&stop, 0);
    pthread_create(&waiter, 0, wait_for_event, 0);
    pthread_create(&other, 0, busy, 0);
    usleep(3000);
    unsigned long one = 1;
    CHECK(write(event_fd, &one, 8) == 8);
    pthread_join(waiter, 0);
    atomic_store(&stop, 1);
    pthread_join(other, 0);
}

static int cpus(void) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

static int all_cpus;

/* It has the CPUs that its parent had at first, and is scheduled as it was. */
static void *start_a_process(void *unused) {
    int pid = fork();
    if (!pid) {
        for (int i = 0; i < 5000 && (cpus() != all_cpus || sched_getscheduler(0)); i++) usleep(1000);
        _exit(cpus() == all_cpus && sched_getscheduler(0) == SCHED_OTHER ? 7 : 8);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    return unused;
}

static void processes(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], 0, start_a_process, 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
}

/* A trap of its own still ends a program. */
static void a_trap(void) {
    int pid = fork();
    if (!pid) {
        pthread_t thread;
        atomic_store(&stop, 0);
        pthread_create(&thread, 0, busy, 0);
        raise(SIGTRAP);
        _exit(3);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
}

static void *become_another(void *unused) {
    execl("/bin/true", "true", (char *)0);
    return unused;
}

static void another_program(void) {
    int pid = fork();
    if (!pid) {
        pthread_t threads[2];
        atomic_store(&stop, 0);
        pthread_create(&threads[0], 0, busy, 0);
        pthread_create(&threads[1], 0, become_another, 0);
        for (;;) pause();
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void) {
    all_cpus = cpus();
    a_queue();
    a_lock_that_spins();
    signals_to_a_busy_thread();
    an_event();
    processes();
    a_trap();
    another_program();
    /* In the end nothing is left of what was done to it. */
    for (int i = 0; i < 5000 && cpus() != all_cpus; i++) usleep(1000);
    CHECK(cpus() == all_cpus);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    return 0;
}
