package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// rawClient speaks MQTT byte by byte, so that tests can say what no library
// would.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	next uint16 // id of the next message received with quality of service 1
}

func dialRaw(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawClient{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *rawClient) send(p []byte) {
	c.t.Helper()
	if err := c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// receive reads one packet; kind 0 when the connection has ended.
func (c *rawClient) receive() (kind byte, body []byte) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	first, err := c.r.ReadByte()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("nothing received within 5 s")
		}
		return 0, nil
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return 0, nil
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return 0, nil
	}
	return first, body
}

func (c *rawClient) expect(kind byte) []byte {
	c.t.Helper()
	got, body := c.receive()
	if got&0xf0 != kind&0xf0 {
		c.t.Fatalf("got packet %x % x, want %x", got, body, kind)
	}
	return body
}

func packet(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func text(s string) []byte {
	return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...)
}

// connectPacket makes a CONNECT for MQTT 3.1.1 (4) or 5, with a clean start.
func connectPacket(version byte, id string) []byte {
	parts := [][]byte{text("MQTT"), {version, 0x02, 0, 60}}
	if version == 5 {
		parts = append(parts, []byte{0})
	}
	return packet(0x10, append(parts, text(id))...)
}

func publishPacket(version byte, topic string, id uint16, payload string) []byte {
	parts := [][]byte{text(topic), {byte(id >> 8), byte(id)}}
	if version == 5 {
		parts = append(parts, []byte{0})
	}
	return packet(0x32, append(parts, []byte(payload))...)
}

func subscribePacket(version byte, id uint16, filter string) []byte {
	parts := [][]byte{{byte(id >> 8), byte(id)}}
	if version == 5 {
		parts = append(parts, []byte{0})
	}
	return packet(0x82, append(parts, text(filter), []byte{1})...)
}

func connectRaw(t *testing.T, address string, version byte, id string) *rawClient {
	t.Helper()
	c := dialRaw(t, address)
	c.send(connectPacket(version, id))
	body := c.expect(0x20)
	if body[1] != 0 {
		t.Fatalf("CONNACK refused: % x", body)
	}
	return c
}
