package endtoend

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// serving is a container that serves by HTTP on a port and is probed on another
// one, and has to be healthy for a second.
func serving(on, probed string) string {
	return fmt.Sprintf(`{"component":"file://%s","run":{"command":["/bin/busybox","httpd","-f","-p","127.0.0.1:%s","-h","/etc"],
		"health":{"http":{"port":%s,"path":"/passwd"},"startPeriod":"1s","interval":"1s","failures":2}},
		"update":{"rollback":true,"healthy":"1s"}}`, rootfs, on, probed)
}

func serves(t *testing.T, port string) {
	t.Helper()
	until(t, "port "+port+" to serve", func() bool {
		answer, err := http.Get("http://127.0.0.1:" + port + "/passwd")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
}

// A run configuration that isn't healthy gives way to the last one that was, also
// when the agent is killed meanwhile; who depends on it isn't disturbed.
func TestUpdate_RollsBack(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	good, bad := freePort(t), freePort(t)
	c.put(e.name, "apps/user", strings.Replace(onHost, "{", `{"dependsOn":["web"],`, 1))
	c.put(e.name, "apps/web", serving(good, good))
	c.converge(e.name, "apps/web", "apps/user")
	first, user := c.get(e.name, "apps/web").Reported, c.get(e.name, "apps/user").Reported
	c.put(e.name, "apps/web", serving(bad, good))
	until(t, "the second configuration to run", func() bool { return e.ask().pids()["web"] != first.PID && e.ask().pids()["web"] != 0 })
	if r := c.get(e.name, "apps/web").Reported; r.Observed != first.Observed || r.Error != nil {
		t.Errorf("committed, or given up, before anybody could know: %+v", r)
	}
	e.kill()
	e.start()
	until(t, "web to be rolled back", func() bool {
		r := c.get(e.name, "apps/web").Reported
		return r.Error != nil && r.Error.Code == "rolled-back" && r.Phase == "running"
	})
	serves(t, good)
	again := c.get(e.name, "apps/web").Reported.PID
	e.kill()
	e.start()
	e.await("the agent to be back", func(s *status) bool { return s.Link.Connected && len(s.Link.Pending) == 0 && s.pids()["web"] != 0 })
	if now := e.ask().pids(); now["web"] != again || now["user"] != user.PID {
		t.Errorf("web %d, user %d before; %v after the agent was killed", again, user.PID, now)
	}
	code, text := c.do(http.MethodGet, "/v1/things/"+e.name+"/receipts?shadow=app:web", "")
	if code != http.StatusOK || !contains(text, `"failed"`) || !contains(text, "rolled-back") {
		t.Errorf("receipts: %d %s", code, text)
	}
	c.put(e.name, "apps/web", serving(bad, bad))
	c.converge(e.name, "apps/web")
	serves(t, bad)
}

// An application that asks for what its container can't have leaves those that
// were in it as they were, but for a restart.
func TestUpdate_RebuildFails(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", container(""))
	c.put(e.name, "apps/side", attached)
	c.converge(e.name, "apps/web", "apps/side")
	c.put(e.name, "apps/extra", strings.Replace(attached, `"run":{`, `"run":{"serial":["/dev/gnomon-none"],`, 1))
	until(t, "extra to be left out", func() bool {
		r := c.get(e.name, "apps/extra").Reported
		return r.Error != nil && r.Error.Code == "rebuild-failed"
	})
	c.converge(e.name, "apps/web", "apps/side")
	c.put(e.name, "apps/extra", attached)
	c.converge(e.name, "apps/web", "apps/side", "apps/extra")
}

// A container with a network of its own is probed there.
func TestUpdate_ProbesInTheContainersNetwork(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", fmt.Sprintf(`{"component":"file://%s","run":{"command":["/bin/busybox","httpd","-f","-p","8080","-h","/etc"],"network":"bridge",
		"health":{"http":{"port":8080,"path":"/passwd"},"startPeriod":"5s","interval":"1s"}},"update":{"healthy":"1s"}}`, rootfs))
	c.converge(e.name, "apps/web")
	if s := c.get(e.name, "apps/web").Status; s.Health != "healthy" {
		t.Errorf("%+v", s)
	}
}
