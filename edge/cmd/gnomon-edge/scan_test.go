package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
)

// meterAt answers calls for its address with a frame, as the meter 171118445100 does.
func meterAt(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	frame, err := hex.DecodeString(answer)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		call := make([]byte, 4+12) // with its preamble
		for {
			if _, err := io.ReadFull(conn, call); err != nil || !bytes.HasSuffix(call, []byte("\x68\xaa\xaa\xaa\xaa\xaa\xaa\x68\x13\x00\xdf\x16")) {
				return
			}
			if _, err := conn.Write(frame); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

func TestScan(t *testing.T) {
	at := meterAt(t, "680051441811176893063384774B444A4516")
	for _, c := range []struct {
		args []string
		code int
		out  string
		err  string
	}{
		{[]string{"--address", at, "--timeout", "1s"}, 0, "171118445100", ""},
		{[]string{"--address", meterAt(t, ""), "--timeout", "50ms", "--tries", "1"}, 1, "", "no meter answered"},
		{[]string{"--address", "nowhere"}, 2, "", "--address: must be host:port (value nowhere)"},
		{[]string{"--port", "/dev/null", "--baud", "2300"}, 2, "", "--baud: must be one of"},
		{[]string{"--port", "/dev/null", "--address", at}, 2, "", "--address: is not for serial lines"},
		{[]string{"--address", at, "-p", "modbus"}, 2, "", "must be dlt645"},
		{[]string{"--address", at, "-o", "xml"}, 2, "", "must be json"},
		{[]string{"--port", t.TempDir() + "/none"}, 1, "", "port unavailable"},
	} {
		var out, problem bytes.Buffer
		code := run(t.Context(), append([]string{"scan"}, c.args...), &out, &problem)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(problem.String(), c.err) {
			t.Errorf("%v: %d, %q, %q", c.args, code, out.String(), problem.String())
		}
	}
}
