package mqttguard_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"gnomon/mqttguard"
)

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(mqttguard.Quiet(slog.NewTextHandler(&out, nil)))
	log.Info("connected")
	log.Warn("odd", "packet", "secret", "client", "a")
	log.With("pk", "secret", "listener", "tcp").Error("bad", "pk", "secret")
	log.WithGroup("g").Debug("no")
	log.WithGroup("g").Warn("grouped", "packet", "secret", "x", 1)
	text := out.String()
	for _, want := range []string{"msg=odd client=a", "msg=bad listener=tcp", "msg=grouped g.x=1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "connected") || strings.Contains(text, "msg=no") {
		t.Errorf("said too much:\n%s", text)
	}
}
