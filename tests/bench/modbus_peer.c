/* The yardstick in C with libmodbus: a server that never is the bottleneck, and a client with one request in flight.
 *
 *   modbus_peer serve              prints its port, serves one connection after the other until its input ends
 *   modbus_peer ask PORT N COUNT   N reads of COUNT registers; prints requests/s and CPU microseconds per request
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static int serve(void) {
    modbus_t *bus = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *cells = modbus_mapping_new(0, 0, 65536, 0);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (!bus || !cells || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 8)) return 1;
    getsockname(listener, (struct sockaddr *)&at, &size);
    for (int i = 0; i < 65536; i++) cells->tab_registers[i] = i & 0xffff;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(bus, &listener) < 0) return 1;
        for (;;) {
            int got = modbus_receive(bus, query);
            if (got < 0) break;
            if (got > 0) modbus_reply(bus, query, got, cells);
        }
        modbus_close(bus);
    }
}

static int ask(int port, int requests, int count) {
    uint16_t registers[MODBUS_MAX_READ_REGISTERS];
    modbus_t *bus = modbus_new_tcp("127.0.0.1", port);
    if (!bus || modbus_connect(bus)) return 1;
    modbus_set_slave(bus, 1);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < requests; i++)
        if (modbus_read_registers(bus, (i * count) % 10000, count, registers) != count) return 1;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%.1f %.2f\n", requests / wall, cpu / requests * 1e6);
    modbus_close(bus);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "serve")) return serve();
    if (argc == 5 && !strcmp(argv[1], "ask")) return ask(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    return 2;
}
