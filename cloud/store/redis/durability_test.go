package redis

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"gnomon/cloud/store/redis/redistest"
)

// The start says what acknowledgements are worth with the settings that the
// server really has, and refuses those that would lose shadows in order.
func TestDurabilityIsSaid(t *testing.T) {
	server := redistest.Start(t)
	secure := redistest.NewSecure(t, recipe(t)+" -info -config|get")
	silent := secure.Start(t)
	for _, tt := range []struct {
		what     string
		settings map[string]string
		server   *redistest.Server
		sec      Security
		level    string
		text     string
		err      string
	}{
		{what: "always", settings: map[string]string{"appendonly": "yes", "appendfsync": "always"}, level: "INFO", text: "a power cut loses nothing"},
		{what: "everysec", settings: map[string]string{"appendfsync": "everysec"}, level: "INFO", text: "a power cut the last two seconds"},
		{what: "no sync", settings: map[string]string{"appendfsync": "no"}, level: "WARN", text: "half a minute"},
		{what: "no file", settings: map[string]string{"appendonly": "no"}, level: "WARN", text: "a restart of it loses"},
		{what: "replicas", settings: map[string]string{"min-replicas-to-write": "0", "min-replicas-max-lag": "7"}, level: "WARN", text: "min-replicas-max-lag=7"},
		{what: "volatile", settings: map[string]string{"maxmemory-policy": "volatile-lru"}, level: "WARN", text: "maxmemory-policy=volatile-lru"},
		{what: "eviction", settings: map[string]string{"maxmemory-policy": "allkeys-lru"}, err: "set noeviction"},
		{what: "nothing is said", server: silent, sec: securityOf(secure), level: "WARN", text: "doesn't say"},
	} {
		s := server
		if tt.server != nil {
			s = tt.server
		}
		for name, value := range tt.settings {
			if answer := s.Do("CONFIG", "SET", name, value); answer != "OK" {
				t.Fatal(answer)
			}
		}
		var log bytes.Buffer
		db, err := Open(ctx, Config{URL: under(s.URL), Security: tt.sec, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		if err != nil || !strings.Contains(log.String(), "level="+tt.level) || !strings.Contains(log.String(), tt.text) {
			t.Errorf("%s: %v, said %s", tt.what, err, log.String())
		}
	}
}

// Of a Cluster every master is asked.
func TestDurabilityOfAllMasters(t *testing.T) {
	cluster := redistest.StartCluster(t)
	last := cluster.Masters()[2]
	if answer := last.Do("CONFIG", "SET", "appendfsync", "everysec"); answer != "OK" {
		t.Fatal(answer)
	}
	var log bytes.Buffer
	db, err := Open(ctx, Config{URL: empty(cluster.URL), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "appendfsync=always") != 1 || strings.Count(log.String(), "appendfsync=everysec") != 1 {
		t.Errorf("said %s", log.String())
	}
	if answer := last.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-random"); answer != "OK" {
		t.Fatal(answer)
	}
	if db, err = Open(ctx, Config{URL: empty(cluster.URL)}); err == nil || !strings.Contains(err.Error(), last.Address()) {
		t.Errorf("opened: %v", err)
		if err == nil {
			db.Close()
		}
	}
}
