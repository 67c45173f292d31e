/* A Modbus slave on libmodbus, for the tests of the driver.
   usage: libmodbus_slave tcp HOST PORT | rtu DEVICE BAUD UNIT
   It says "ready" when it can be asked.

   Input registers: at each even address of the SDM630's map below 100 the 32-bit
   float 1 + address/4; from 100 on the float 230.1 in the orders ABCD, DCBA,
   BADC and CDAB. Holding registers hold 7 * address + UNIT, coils and discrete
   inputs the lowest bit of that. There are PLACES of each. */
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES 300

static uint16_t swapped(uint16_t r) { return r << 8 | r >> 8; }

/* put stores a float as its registers go over the wire. libmodbus has functions
   for this, but up to 3.1.6 they swap the bytes of each register on a
   little-endian machine. */
static void put(uint16_t *at, float f, const char *order)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t ab = bits >> 16, cd = bits & 0xffff;
    if (strcmp(order, "ABCD") == 0)
        at[0] = ab, at[1] = cd;
    else if (strcmp(order, "DCBA") == 0)
        at[0] = swapped(cd), at[1] = swapped(ab);
    else if (strcmp(order, "BADC") == 0)
        at[0] = swapped(ab), at[1] = swapped(cd);
    else
        at[0] = cd, at[1] = ab;
}

static void fill(modbus_mapping_t *map, int unit)
{
    for (int a = 0; a < 100; a += 2)
        put(map->tab_input_registers + a, 1 + a / 4.0f, "ABCD");
    put(map->tab_input_registers + 100, 230.1f, "ABCD");
    put(map->tab_input_registers + 102, 230.1f, "DCBA");
    put(map->tab_input_registers + 104, 230.1f, "BADC");
    put(map->tab_input_registers + 106, 230.1f, "CDAB");
    for (int a = 0; a < PLACES; a++) {
        map->tab_registers[a] = 7 * a + unit;
        map->tab_bits[a] = map->tab_input_bits[a] = (7 * a + unit) & 1;
    }
}

/* serve answers until the connection or the line is gone. */
static void serve(modbus_t *ctx, modbus_mapping_t *map)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        int n = modbus_receive(ctx, request);
        if (n < 0 && errno == EMBBADCRC)
            continue; /* noise */
        if (n < 0 || (n > 0 && modbus_reply(ctx, request, n, map) < 0 && errno != EMBXILADD))
            return;
    }
}

static void fail(const char *what)
{
    fprintf(stderr, "libmodbus_slave: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    int tcp = argc == 4 && strcmp(argv[1], "tcp") == 0;
    if (!tcp && !(argc == 5 && strcmp(argv[1], "rtu") == 0)) {
        fprintf(stderr, "usage: libmodbus_slave tcp HOST PORT | rtu DEVICE BAUD UNIT\n");
        return 2;
    }
    int unit = tcp ? 1 : atoi(argv[4]);
    modbus_mapping_t *map = modbus_mapping_new(PLACES, PLACES, PLACES, PLACES);
    if (!map)
        fail("mapping");
    fill(map, unit);
    modbus_t *ctx = tcp ? modbus_new_tcp(argv[2], atoi(argv[3])) : modbus_new_rtu(argv[2], atoi(argv[3]), 'N', 8, 1);
    if (!ctx)
        fail("context");
    if (!tcp) {
        modbus_set_slave(ctx, unit);
        if (modbus_connect(ctx) < 0)
            fail(argv[2]);
        puts("ready");
        fflush(stdout);
        serve(ctx, map);
        return 1;
    }
    int listening = modbus_tcp_listen(ctx, 5);
    if (listening < 0)
        fail("listen");
    puts("ready");
    fflush(stdout);
    while (modbus_tcp_accept(ctx, &listening) >= 0) {
        serve(ctx, map);
        modbus_close(ctx);
    }
    fail("accept");
}
