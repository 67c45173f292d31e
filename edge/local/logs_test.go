package local

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLog_Tail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	write(t, path+".2", "1\n2\n")
	write(t, path+".1", "3\n4\n")
	write(t, path, "5\n6\nopen")
	for tail, want := range map[int]string{-1: "1\n2\n3\n4\n5\n6\nopen", 0: "", 1: "open", 3: "5\n6\nopen", 4: "4\n5\n6\nopen", 99: "1\n2\n3\n4\n5\n6\nopen"} {
		var out bytes.Buffer
		if err := Log(t.Context(), &out, path, LogQuery{Tail: tail}, nil); err != nil || out.String() != want {
			t.Errorf("tail %d: %q %v, want %q", tail, &out, err, want)
		}
	}
	if got := string(lastLines([]byte("a\nb\n"), 0)); got != "" {
		t.Errorf("no lines: %q", got)
	}
	if err := Log(t.Context(), io.Discard, path+"none", LogQuery{Tail: -1}, nil); err == nil {
		t.Error("a log that isn't there")
	}
}

// What was written before a moment is left out as exactly as is known.
func TestLog_Since(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	now := time.Now()
	write(t, path+".1", "long ago\n")
	if err := os.Chtimes(path+".1", now.Add(-time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	write(t, path, "before\n")
	var m marks
	look := func(at time.Time) { m.look(at, []string{"web"}, func(string) string { return path }) }
	look(now.Add(-20 * time.Minute))
	look(now.Add(-10 * time.Minute))
	write(t, path, "after\n")
	look(now)
	for since, want := range map[time.Duration]string{
		2 * time.Hour: "long ago\nbefore\nafter\n", 30 * time.Minute: "before\nafter\n", 15 * time.Minute: "after\n", 5 * time.Minute: "after\n",
	} {
		var out bytes.Buffer
		if err := Log(t.Context(), &out, path, LogQuery{Tail: -1, Since: now.Add(-since)}, m.begin("web")); err != nil || out.String() != want {
			t.Errorf("since %s: %q %v, want %q", since, &out, err, want)
		}
	}
	for i := range 3 * maxMarks {
		write(t, path, "x")
		look(now.Add(time.Duration(i) * time.Second))
	}
	if n := len(m.byApp["web"]); n > maxMarks {
		t.Errorf("%d marks", n)
	}
	m.look(now, nil, nil)
	if len(m.byApp) != 0 {
		t.Error("marks of what is gone")
	}
}

// A log that is followed loses nothing across rotations and when it is cut.
func TestLog_Follow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	write(t, path, "0\n")
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Log(ctx, w, path, LogQuery{Tail: -1, Follow: true}, nil)
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	for i := range 4 {
		if !lines.Scan() || lines.Text() != fmt.Sprint(i) {
			t.Fatalf("line %q, want %d", lines.Text(), i)
		}
		switch i {
		case 0:
			write(t, path, "1\n")
		case 1: // the end of the file that is rotated away comes first
			write(t, path, "2\n")
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			write(t, path, "3\n")
		}
	}
	stop()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServer_Logs(t *testing.T) {
	c, dir := serve(t, &agent{})
	write(t, filepath.Join(dir, "web.log"), "1\n2\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stream, err := c.Stream(ctx, "/v1/applications/web/logs?tail=1&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	if !lines.Scan() || lines.Text() != "2" {
		t.Errorf("%q", lines.Text())
	}
	write(t, filepath.Join(dir, "web.log"), "3\n")
	if !lines.Scan() || lines.Text() != "3" {
		t.Errorf("%q", lines.Text())
	}
	if _, err := c.Stream(ctx, "/v1/applications/none/logs"); err == nil || !strings.Contains(err.Error(), "no such application") {
		t.Error(err)
	}
}
