package mqttguard

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFrames_FollowPackets(t *testing.T) {
	stream := []byte("\x30\x03abc\xd0\x00\x30\x80\x01" + strings.Repeat("x", 128) + "\x30\x00")
	for chunk := 1; chunk < len(stream); chunk++ {
		f := Frames{Limit: 128}
		for at := 0; at < len(stream); at += chunk {
			if err := f.Pass(stream[at:min(at+chunk, len(stream))]); err != nil {
				t.Fatal(err)
			}
		}
		if f.Within() {
			t.Fatalf("chunks of %d end within a packet: %+v", chunk, f)
		}
	}
}

func TestFrames_Limit(t *testing.T) {
	for text, ok := range map[string]bool{
		"\x30\x80\x01":         true, // 128
		"\x30\x81\x01":         false,
		"\x20\xff\xff\xff\x7f": false,
		"\x20\x80\x80\x80\x80": false, // a length ends after four bytes
		"\x20\x80\x80\x80\x00": true,  // 0, at length
		"\xd0\x00\x30\xff\x7f": false,
	} {
		f := Frames{Limit: 128}
		if err := f.Pass([]byte(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrPacket) {
			t.Errorf("% x: %v", text, err)
		}
	}
}

// What is too large never reaches the reader, not even its header's last byte.
func TestUpstream_Read(t *testing.T) {
	far, near := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		_, _ = far.Write(packet(0x30, 1000)) // the reader says if it doesn't arrive
		_, _ = far.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	}()
	u := NewUpstream(near, 1000, time.Second)
	if err := u.Refused(); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(u)
	if why := u.Refused(); !errors.Is(why, ErrPacket) {
		t.Errorf("it ended for %v", why)
	}
	if !errors.Is(err, ErrPacket) || !bytes.Equal(got, packet(0x30, 1000)) {
		t.Errorf("%d bytes came through, %v", len(got), err)
	}
}

// Packets that are written in parts by several goroutines arrive whole.
func TestUpstream_Write(t *testing.T) {
	far, near := net.Pipe()
	u := NewUpstream(near, 10, time.Minute)
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(far)
		got <- all
	}()
	const writers, packets = 4, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range packets {
				u.Lock()
				for range 3 {
					if n, err := u.Write([]byte{byte('a' + w)}); n != 1 || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				}
				u.Unlock()
			}
		})
	}
	all.Wait()
	near.Close()
	parts := slices.Collect(slices.Chunk(<-got, 3))
	for _, p := range parts {
		if p[0] != p[1] || p[1] != p[2] {
			t.Fatalf("a packet %q", p)
		}
	}
	if len(parts) != writers*packets {
		t.Errorf("%d packets", len(parts))
	}
	far.Close()
}

// A broker that takes nothing doesn't hold a writer for longer than is allowed.
func TestUpstream_WriteTimeout(t *testing.T) {
	far, near := net.Pipe()
	defer far.Close()
	u := NewUpstream(near, 10, 20*time.Millisecond)
	u.Lock()
	if _, err := u.Write([]byte("packet")); err != nil {
		t.Error(err)
	}
	u.Unlock()
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection lives on: %v", err)
	}
	if _, err := u.Write([]byte("more")); err == nil {
		t.Error("it was written")
	}
}

// On a slow link what is large has its time, and no more.
func TestUpstream_Slowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		defer far.Close()
		u := NewUpstream(near, 10, time.Second)
		u.Slowest = 100
		for size, want := range map[int]time.Duration{1: 1010 * time.Millisecond, 500: 6 * time.Second} {
			began := time.Now()
			if _, err := u.Write(make([]byte, size)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes: %v", size, err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("%d bytes had %v, want %v", size, took, want)
			}
		}
	})
}
