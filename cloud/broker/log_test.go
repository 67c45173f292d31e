package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// lines is a log that a test may read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What a client sends is its own business: a refused packet is not logged whole.
func TestLogHasNoPayload(t *testing.T) {
	log := new(lines)
	_, address := start(t, accepting, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	c := connectRaw(t, address, 4, "c")
	c.send(publishPacket(4, updateTopic+"/accepted", 1, "secret"))
	for kind, _ := c.receive(); kind != 0; kind, _ = c.receive() {
	}
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(log.String(), "not authorized") })
	for _, word := range []string{"secret", "115 101 99 114 101 116", "Password"} {
		if strings.Contains(log.String(), word) {
			t.Errorf("%q is in the log: %s", word, log)
		}
	}
}
