package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Sentinel is a master with a replica, watched by one Sentinel.
type Sentinel struct {
	Servers []*Server
	watch   *Server
}

// StartSentinel starts them and waits until the Sentinel knows both.
func StartSentinel(t testing.TB) *Sentinel { t.Helper(); return startSentinel(t, nil) }

func startSentinel(t testing.TB, secure *Secure) *Sentinel {
	t.Helper()
	master := start(t, secure)
	replica := start(t, secure, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port), "--repl-diskless-sync-delay", "0")
	replica.await("INFO replication", func(answer string) bool { return strings.Contains(answer, "master_link_status:up") })
	w := &Server{Port: freePort(t), t: t, dir: t.TempDir(), secure: secure}
	w.sentinel = filepath.Join(w.dir, "sentinel.conf")
	var conf strings.Builder
	listen := secure.listen(strconv.Itoa(w.Port))
	for i := 0; i < len(listen); i += 2 {
		fmt.Fprintln(&conf, strings.TrimPrefix(listen[i], "--"), listen[i+1])
	}
	fmt.Fprintf(&conf, "bind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n", w.dir, master.Port)
	if secure != nil {
		fmt.Fprintf(&conf, "sentinel auth-pass main %s\n", adminPassword)
	}
	if err := os.WriteFile(w.sentinel, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.cmd != nil {
			w.Kill()
		}
	})
	w.Again()
	w.await("SENTINEL replicas main", func(answer string) bool { return strings.Contains(answer, strconv.Itoa(replica.Port)) })
	return &Sentinel{[]*Server{master, replica}, w}
}

// URL is what the store's adapter takes.
func (s *Sentinel) URL(prefix string) string {
	return s.watch.secure.scheme() + "+sentinel://" + s.watch.Address() + "/main?prefix=" + prefix
}

// AwaitMaster waits until a server is the master, and the Sentinel says so.
func (s *Sentinel) AwaitMaster(server *Server) {
	s.watch.await("SENTINEL get-master-addr-by-name main", func(answer string) bool { return strings.Contains(answer, strconv.Itoa(server.Port)) })
	server.await("ROLE", func(answer string) bool { return strings.HasPrefix(answer, "master") })
}
