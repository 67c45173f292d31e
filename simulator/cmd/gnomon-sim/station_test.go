package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/simulator/station"
)

func TestStation_UsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"", "--listen"},
		{"--listen 127.0.0.1:0 --port /tmp/x", "--listen"},
		{"--listen 127.0.0.1:0 --meters 1001", "meters is 1001"},
		{"--listen 127.0.0.1:0 --speed 0.5", "--speed is 0.5"},
		{"--listen 127.0.0.1:0 --dead 3-x", `--dead "3-x"`},
		{"--listen 127.0.0.1:0 --dead 101", "meters 101 to 101"},
		{"--listen 127.0.0.1:0 --policy area", "NODE/NAME"},
		{"--listen 127.0.0.1:0 more", `"more"`},
	} {
		code, stdout, stderr := call(t.Context(), append([]string{"station"}, strings.Fields(tc.args)...)...)
		if code != exitUsage || !strings.Contains(stderr, tc.says) || stdout != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want exit 2 saying %q", tc.args, code, stdout, stderr, tc.says)
		}
	}
}

// serve runs a station area, and returns where it said it is.
func serve(t *testing.T, args ...string) (where string, end func() (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var stdout bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"station"}, args...), &stdout, w)
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the pipe
	_, where, _ = strings.Cut(line, "CCO on ")
	where, _, _ = strings.Cut(where, ",")
	return where, func() (int, string) {
		cancel()
		return <-code, stdout.String()
	}
}

// pause is a captured frame, that a CCO confirms.
const pause = "680F00430000283200631202001416"

func exchange(t *testing.T, conn io.ReadWriter) {
	t.Helper()
	frame, err := hex.DecodeString(pause)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 21)
	if _, err := io.ReadFull(conn, got); err != nil || got[0] != 0x68 || got[20] != 0x16 || got[10] != 0 || got[11] != 1 {
		t.Fatalf("%X, %v", got, err)
	}
}

func TestStation_TCP(t *testing.T) {
	where, end := serve(t, "--listen", "127.0.0.1:0", "--meters", "3", "--dead", "2", "-o", "json")
	conn, err := net.Dial("tcp", where)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exchange(t, conn)
	code, stdout := end()
	var status station.Status
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || code != exitOK || status.Meters != 3 || status.Dead != 1 || status.Requests != 1 || status.Routing {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
}

func TestStation_SerialLine(t *testing.T) {
	link := filepath.Join(t.TempDir(), "cco0")
	where, end := serve(t, "--port", link, "--meters", "1")
	if where != link {
		t.Fatalf("on %q", where)
	}
	var tty *os.File
	var err error
	for tty == nil { // it says where before the line is there
		if tty, err = os.OpenFile(link, os.O_RDWR, 0); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	defer tty.Close()
	exchange(t, tty)
	if code, stdout := end(); code != exitOK || !strings.Contains(stdout, "requests 1") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("the link is left: %v", err)
	}
}

func TestStation_Policy(t *testing.T) {
	code, stdout, stderr := call(t.Context(), "station", "--meters", "3", "--share698", "0.34", "--listen", "127.0.0.1:26000", "--policy", "n1/area")
	if code != exitOK || !strings.Contains(stdout, `address: "202600000003", model: dlt698-1p`) || stderr != "" {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
}
