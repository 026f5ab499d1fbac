/* QoS 1 publishes as fast as libmosquitto goes, a window of them on the way: mqtt_client PORT MESSAGES BYTES WINDOW.
 * Prints messages per second and CPU microseconds per message. */
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int done, open_messages, total, window, size, sent;
static char *payload;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void fill(struct mosquitto *client) {
    while (open_messages < window && sent < total) {
        if (mosquitto_publish(client, NULL, "bench/data", size, payload, 1, false) != MOSQ_ERR_SUCCESS) exit(2);
        open_messages++;
        sent++;
    }
}

static void on_connect(struct mosquitto *client, void *data, int code) {
    (void)data;
    if (code) exit(3);
    fill(client);
}

static void on_publish(struct mosquitto *client, void *data, int mid) {
    (void)data, (void)mid;
    open_messages--;
    done++;
    fill(client);
}

int main(int count, char **words) {
    if (count != 5) return 1;
    total = atoi(words[2]), size = atoi(words[3]), window = atoi(words[4]);
    payload = malloc(size);
    memset(payload, 'x', size);
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new(NULL, true, NULL);
    mosquitto_max_inflight_messages_set(client, window);
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_publish_callback_set(client, on_publish);
    if (mosquitto_connect(client, "127.0.0.1", atoi(words[1]), 60)) return 4;
    double began = now(), used = cpu();
    while (done < total)
        if (mosquitto_loop(client, 1000, 1)) return 5;
    printf("%.0f %.1f\n", total / (now() - began), (cpu() - used) / total * 1e6);
    return 0;
}
