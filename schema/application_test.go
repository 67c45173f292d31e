package schema

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseApplication_Defaults(t *testing.T) {
	a, err := ParseApplication([]byte(`{"component":"web@1.0.0","run":{"ports":[{"host":8080}],"files":[{"path":"/etc/w.yml"}],"health":{"http":{"port":80}},"restart":{"backoff":"2m"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Mode != ModeContainer || a.State != StateRunning {
		t.Errorf("mode %q state %q", a.Mode, a.State)
	}
	r := a.Run
	if r.Ports[0].Container != 8080 || r.Ports[0].Protocol != "tcp" || r.Files[0].Mode != "0644" {
		t.Errorf("ports %+v files %+v", r.Ports, r.Files)
	}
	if r.StopGrace.D() != 10*time.Second || r.Restart.Policy != RestartAlways {
		t.Errorf("stopGrace %v restart %+v", r.StopGrace, r.Restart)
	}
	if r.Restart.BackoffMax < r.Restart.Backoff {
		t.Errorf("backoffMax %v is below backoff %v", r.Restart.BackoffMax, r.Restart.Backoff)
	}
	if h := r.Health; h.HTTP.Path != "/" || h.Failures != 3 || h.Successes != 1 || h.StartPeriod.D() != 10*time.Second {
		t.Errorf("health %+v", h)
	}
	if a.Update != (Update{}) {
		t.Errorf("update %+v", a.Update)
	}
	if a, err = ParseApplication([]byte(`{"component":"web@1.0.0","update":{"rollback":true}}`)); err != nil || a.Update.Healthy.D() != 30*time.Second {
		t.Errorf("update %+v, %v", a.Update, err)
	}
}

func TestParseApplication_Refuses(t *testing.T) {
	long := strings.Repeat("x", MaxFileContent+1)
	tests := []struct{ name, in, path string }{
		{"unknown member", `{"component":"a@1","rum":{}}`, "rum"},
		{"wrong type", `{"component":"a@1","run":{"env":[]}}`, "run.env"},
		{"second value", `{"component":"a@1"}{}`, "desired"},
		{"no component", `{"mode":"container"}`, "component"},
		{"no version", `{"component":"web"}`, "component"},
		{"path climbing", `{"component":"file:///a/../../etc"}`, "component"},
		{"no command", `{"mode":"host"}`, "run.command"},
		{"mode", `{"component":"a@1","mode":"vm"}`, "mode"},
		{"state", `{"component":"a@1","state":"paused"}`, "state"},
		{"attach without target", `{"component":"a@1","mode":"attach"}`, "attachTo"},
		{"target without attach", `{"component":"a@1","attachTo":"web"}`, "attachTo"},
		{"host with ports", `{"component":"a@1","mode":"host","run":{"ports":[{"host":80}]}}`, "run.ports"},
		{"host with hostname", `{"component":"a@1","mode":"host","run":{"hostname":"h"}}`, "run.hostname"},
		{"host privileged", `{"component":"a@1","mode":"host","run":{"privileged":true}}`, "run.privileged"},
		{"host with serial", `{"component":"a@1","mode":"host","run":{"serial":["/dev/ttyS1"]}}`, "run.serial"},
		{"network", `{"component":"a@1","run":{"network":"macvlan"}}`, "run.network"},
		{"attach with network", `{"mode":"attach","attachTo":"b","run":{"command":["x"],"network":"bridge"}}`, "run.network"},
		{"host with network", `{"mode":"host","run":{"command":["x"],"network":"host"}}`, "run.network"},
		{"ports in the node's network", `{"component":"a@1","run":{"ports":[{"host":8080,"container":80}]}}`, "run.ports[0].container"},
		{"users", `{"component":"a@1","run":{"userNamespace":"private"}}`, "run.userNamespace"},
		{"users and privileged", `{"component":"a@1","run":{"userNamespace":"auto","privileged":true}}`, "run.userNamespace"},
		{"attach with users", `{"mode":"attach","attachTo":"b","run":{"command":["x"],"userNamespace":"auto"}}`, "run.userNamespace"},
		{"host with users", `{"mode":"host","run":{"command":["x"],"userNamespace":"host"}}`, "run.userNamespace"},
		{"dns server", `{"component":"a@1","run":{"dns":{"servers":["ns.example"]}}}`, "run.dns.servers[0]"},
		{"dns servers", `{"component":"a@1","run":{"dns":{"servers":["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]}}}`, "run.dns.servers"},
		{"dns search", `{"component":"a@1","run":{"dns":{"search":["a b"]}}}`, "run.dns.search[0]"},
		{"device outside dev", `{"component":"a@1","run":{"devices":[{"path":"/etc/passwd"}]}}`, "run.devices[0].path"},
		{"device access", `{"component":"a@1","run":{"devices":[{"path":"/dev/kmsg","access":"x"}]}}`, "run.devices[0].access"},
		{"capability", `{"component":"a@1","run":{"capabilities":{"add":["CAP_NET_ADMIN"]}}}`, "run.capabilities.add[0]"},
		{"volume kind", `{"component":"a@1","run":{"volumes":[{"path":"/d","kind":"nfs"}]}}`, "run.volumes[0].kind"},
		{"volume without name", `{"component":"a@1","run":{"volumes":[{"path":"/d"}]}}`, "run.volumes[0].name"},
		{"volume in proc", `{"component":"a@1","run":{"volumes":[{"path":"/proc/x","name":"d"}]}}`, "run.volumes[0].path"},
		{"volume climbing", `{"component":"a@1","run":{"volumes":[{"path":"/a/../b","name":"d"}]}}`, "run.volumes[0].path"},
		{"volume path twice", `{"component":"a@1","run":{"volumes":[{"path":"/d","name":"d"},{"path":"/d","name":"e"}]}}`, "run.volumes[1].path"},
		{"volume name twice", `{"component":"a@1","run":{"volumes":[{"path":"/d","name":"d"},{"path":"/e","name":"d"}]}}`, "run.volumes[1].name"},
		{"kept in memory", `{"component":"a@1","run":{"volumes":[{"path":"/d","kind":"temporary","keep":true}]}}`, "run.volumes[0].name"},
		{"size on disk", `{"component":"a@1","run":{"volumes":[{"path":"/d","name":"d","size":"1Mi"}]}}`, "run.volumes[0].size"},
		{"time zone", `{"component":"a@1","run":{"timezone":"../../etc/passwd"}}`, "run.timezone"},
		{"log size", `{"component":"a@1","run":{"log":{"size":"1Ki"}}}`, "run.log.size"},
		{"log files", `{"component":"a@1","run":{"log":{"files":21}}}`, "run.log.files"},
		{"io", `{"component":"a@1","run":{"resources":{"io":{"write":"1Ki"}}}}`, "run.resources.io.write"},
		{"serial outside dev", `{"component":"a@1","run":{"serial":["/dev/../etc/passwd"]}}`, "run.serial[0]"},
		{"port", `{"component":"a@1","run":{"ports":[{"host":70000}]}}`, "run.ports[0].host"},
		{"port twice", `{"component":"a@1","run":{"ports":[{"host":80},{"host":80}]}}`, "run.ports[1].host"},
		{"memory", `{"component":"a@1","run":{"resources":{"memory":"1Mi"}}}`, "run.resources.memory"},
		{"cpu", `{"component":"a@1","run":{"resources":{"cpu":"1m"}}}`, "run.resources.cpu"},
		{"file path", `{"component":"a@1","run":{"files":[{"path":"etc/x"}]}}`, "run.files[0].path"},
		{"file mode", `{"component":"a@1","run":{"files":[{"path":"/x","mode":"rwx"}]}}`, "run.files[0].mode"},
		{"file content", `{"component":"a@1","run":{"files":[{"path":"/x","content":"` + long + `"}]}}`, "run.files[0].content"},
		{"restart policy", `{"component":"a@1","run":{"restart":{"policy":"often"}}}`, "run.restart.policy"},
		{"backoff", `{"component":"a@1","run":{"restart":{"backoff":"1ms"}}}`, "run.restart.backoff"},
		{"both probes", `{"component":"a@1","run":{"health":{"http":{"port":1},"tcp":{"port":1}}}}`, "run.health"},
		{"probe without a program", `{"component":"a@1","run":{"health":{"exec":{"command":[]}}}}`, "run.health.exec.command.length"},
		{"probe with an empty program", `{"component":"a@1","run":{"health":{"exec":{"command":[""]}}}}`, "run.health.exec.command[0]"},
		{"a program and a port", `{"component":"a@1","run":{"health":{"exec":{"command":["a"]},"tcp":{"port":1}}}}`, "run.health"},
		{"start period", `{"component":"a@1","run":{"health":{"tcp":{"port":1},"startPeriod":"1ms"}}}`, "run.health.startPeriod"},
		{"successes", `{"component":"a@1","run":{"health":{"tcp":{"port":1},"successes":101}}}`, "run.health.successes"},
		{"commit", `{"component":"a@1","update":{"healthy":"25h"}}`, "update.healthy"},
		{"strategy", `{"component":"a@1","update":{"strategy":"both"}}`, "update.strategy"},
		{"env name", `{"component":"a@1","run":{"env":{"A=B":"c"}}}`, "run.env.A=B"},
		{"depends", `{"component":"a@1","dependsOn":["Web"]}`, "dependsOn[0]"},
		{"relative dir", `{"component":"a@1","run":{"dir":"srv"}}`, "run.dir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseApplication([]byte(tt.in))
			wantProblem(t, err, tt.path)
		})
	}
}

func wantProblem(t *testing.T, err error, path string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error naming %s", err, path)
	}
	for _, p := range e.Problems {
		if p.Path == path {
			return
		}
	}
	t.Fatalf("got %v, want a problem at %s", err, path)
}

// The matrix is data that documentation and executors read too, so it is
// checked against the table of the design, cell by cell.
func TestMatrix(t *testing.T) {
	want := `
environment: yes | yes | yes
ports: yes | yes, container rebuilt | not applicable
restart: yes | yes | yes
files: yes | yes, container rebuilt | yes
resources: yes | application restarted when over the limit | yes
network: yes | not applicable | not applicable
dns: yes | not applicable | not applicable
hostname: yes | yes, container rebuilt | refused
privileged: yes | yes, container rebuilt | refused
serial: yes | yes, container rebuilt | not applicable
devices: yes | not applicable | not applicable
capabilities: yes | not applicable | not applicable
readOnly: yes | not applicable | not applicable
userNamespace: yes | not applicable | not applicable
init: yes | not applicable | not applicable
volumes: yes | not applicable | not applicable
timezone: yes | not applicable | yes
log: yes | yes | yes
args: yes | yes | yes
command: yes | yes | yes`
	var got strings.Builder
	for _, r := range Matrix {
		got.WriteString("\n" + string(r.Option) + ": ")
		for i, m := range Modes {
			if i > 0 {
				got.WriteString(" | ")
			}
			got.WriteString(SupportOf(r.Option, m).String())
		}
	}
	if got.String() != want {
		t.Errorf("got%s\nwant%s", got.String(), want)
	}
}

func TestQuantities(t *testing.T) {
	for in, want := range map[string]CPU{`"500m"`: 500, `"1.5"`: 1500, `2`: 2000} {
		var c CPU
		if err := c.UnmarshalJSON([]byte(in)); err != nil || c != want {
			t.Errorf("CPU %s: got %d, %v, want %d", in, c, err, want)
		}
	}
	for in, want := range map[string]Bytes{`"64Mi"`: 64 << 20, `"1.5Gi"`: 3 << 29, `"500k"`: 500_000, `4096`: 4096} {
		var b Bytes
		if err := b.UnmarshalJSON([]byte(in)); err != nil || b != want {
			t.Errorf("Bytes %s: got %d, %v, want %d", in, b, err, want)
		}
	}
	for _, bad := range []string{`"lots"`, `"-1"`, `"NaN"`, `"1e300"`} {
		if new(CPU).UnmarshalJSON([]byte(bad)) == nil || new(Bytes).UnmarshalJSON([]byte(bad)) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if new(Duration).UnmarshalJSON([]byte(`10`)) == nil {
		t.Error("a duration without a unit is accepted")
	}
}

func TestParseApplication_Files(t *testing.T) {
	const head = `{"component":"c@1","mode":"host","run":{"command":["x"],`
	a, err := ParseApplication([]byte(head + `"reload":"SIGHUP","files":[{"path":"/a","content":"x"},{"path":"/b","from":"conf/b","readOnly":true}]}}`))
	if err != nil || a.Run.Files[0].Mode != "0644" || a.Run.Files[1].Mode != "" || a.Run.Reload != ReloadHUP {
		t.Errorf("%+v %v", a, err)
	}
	for text, path := range map[string]string{
		`"reload":"SIGKILL"`:                                   "run.reload",
		`"files":[{"path":"/a","from":"/etc"}]`:                "run.files[0].from",
		`"files":[{"path":"/a","from":"../x"}]`:                "run.files[0].from",
		`"files":[{"path":"/a","from":".."}]`:                  "run.files[0].from",
		`"files":[{"path":"/a","from":"x","content":"y"}]`:     "run.files[0].content",
		`"files":[{"path":"/a","from":"x","mode":"9"}]`:        "run.files[0].mode",
		`"files":[{"path":"/a","from":"x"},{"path":"/a/b"}]`:   "run.files[1].path",
		`"files":[{"path":"/a/b/c"},{"path":"/a","from":"x"}]`: "run.files[0].path",
	} {
		if _, err := ParseApplication([]byte(head + text + "}}")); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := ParseApplication([]byte(`{"mode":"host","run":{"command":["x"],"files":[{"path":"/a","from":"x"}]}}`)); err == nil || !strings.Contains(err.Error(), "needs a component") {
		t.Errorf("from without a component: %v", err)
	}
}
