package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// durability is what a server's settings make of an acknowledgement.
type durability struct {
	address, version                                string
	appendOnly, fsync, policy, replicas, replicaLag string
}

// checkServers refuses servers that can't be used and says of each kind what its
// acknowledgements are worth. Of a Cluster all masters are asked.
func (s *Store) checkServers(ctx context.Context) error {
	var mu sync.Mutex
	said := make(map[string]bool)
	check := func(ctx context.Context, c goredis.UniversalClient, address string) error {
		d, err := ask(ctx, c)
		if err != nil {
			return err
		}
		d.address = address
		if err := d.refuse(); err != nil {
			return err
		}
		level, text := d.worth()
		mu.Lock()
		defer mu.Unlock()
		if !said[text] {
			said[text] = true
			s.log.Log(ctx, level, "redis acknowledges", "means", text, "version", d.version, "appendonly", d.appendOnly, "appendfsync", d.fsync,
				"maxmemory-policy", d.policy, "min-replicas-to-write", d.replicas, "min-replicas-max-lag", d.replicaLag)
		}
		return nil
	}
	if cluster, ok := s.client.(*goredis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
			return check(ctx, c, c.Options().Addr)
		})
	}
	return check(ctx, s.client, "")
}

// ask asks a server for its settings. Managed servers, and users that may not,
// don't learn them.
func ask(ctx context.Context, c goredis.UniversalClient) (durability, error) {
	d := durability{version: "unknown"}
	info, err := c.Info(ctx, "server").Result()
	switch {
	case err == nil:
		d.version = field(info, "redis_version")
	case !strings.HasPrefix(err.Error(), "NOPERM"):
		return d, err
	}
	for name, into := range map[string]*string{
		"appendonly": &d.appendOnly, "appendfsync": &d.fsync, "maxmemory-policy": &d.policy,
		"min-replicas-to-write": &d.replicas, "min-replicas-max-lag": &d.replicaLag,
	} {
		*into = "unknown"
		if m, err := c.ConfigGet(ctx, name).Result(); err == nil && m[name] != "" {
			*into = m[name]
		}
	}
	return d, nil
}

// refuse returns why a server can't be used.
func (d *durability) refuse() error {
	where := ""
	if d.address != "" {
		where = " " + d.address
	}
	major, _, _ := strings.Cut(d.version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		return fmt.Errorf("redis%s %s is too old: 7 or later is needed", where, d.version)
	}
	if strings.HasPrefix(d.policy, "allkeys") {
		return fmt.Errorf("maxmemory-policy %s of redis%s would discard shadows: set noeviction", d.policy, where)
	}
	return nil
}

// worth says what an acknowledgement means. README.md says it at length.
func (d *durability) worth() (slog.Level, string) {
	switch {
	case d.appendOnly == "unknown" || d.fsync == "unknown":
		return slog.LevelWarn, "redis doesn't say what its acknowledgements are worth: see what appendonly and appendfsync it runs with"
	case d.appendOnly == "no":
		return slog.LevelWarn, "redis keeps no append-only file: a restart of it loses acknowledged changes"
	case d.fsync == "always":
		return slog.LevelInfo, "redis syncs before it acknowledges: a crash or a power cut loses nothing acknowledged"
	case d.fsync == "everysec":
		return slog.LevelInfo, "redis syncs once a second: a crash of it loses nothing acknowledged, a power cut the last two seconds"
	default:
		return slog.LevelWarn, "redis leaves syncing to its system: a crash of it loses nothing acknowledged, a power cut up to half a minute"
	}
}
