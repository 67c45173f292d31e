package endtoend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
)

// api is the cloud as an operator's program sees it.
type api struct {
	t    *testing.T
	cfg  cloudproc.Config
	proc *cloudproc.Cloud
}

// resource is an application or a policy as /v1 gives it.
type resource struct {
	DesiredVersion uint64 `json:"desiredVersion"`
	Reported       struct {
		Phase    string `json:"phase"`
		PID      int    `json:"pid"`
		Exit     *exit  `json:"exit"`
		Restarts int    `json:"restarts"`
		Observed uint64 `json:"observedVersion"`
		Readings map[string]map[string]struct {
			Value float64 `json:"value"`
		} `json:"readings"`
		Error *struct {
			Code string `json:"code"`
		} `json:"error"`
	} `json:"reported"`
	Status struct {
		Converged bool   `json:"converged"`
		Health    string `json:"health"`
	} `json:"status"`
}

type exit struct {
	Code   int    `json:"code"`
	Signal string `json:"signal"`
}

func newCloud(t *testing.T) *api {
	t.Helper()
	c := &api{t: t, cfg: cloudtest.Config(t)}
	c.start()
	t.Cleanup(func() { c.proc.Kill() })
	return c
}

func (c *api) start() {
	c.t.Helper()
	var err error
	if c.proc, err = cloudproc.Start(c.cfg); err != nil {
		c.t.Fatal(err)
	}
	if err := c.proc.Ready(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *api) do(method, path, body string) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.cfg.HTTP+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.StatusCode, text
}

// put sets what is desired of apps/NAME or policies/NAME of a node.
func (c *api) put(node, item, desired string) {
	c.t.Helper()
	if code, text := c.do(http.MethodPut, "/v1/nodes/"+node+"/"+item, desired); code != http.StatusOK && code != http.StatusCreated {
		c.t.Fatalf("put %s: %d %s", item, code, text)
	}
}

func (c *api) delete(node, item string) {
	c.t.Helper()
	if code, text := c.do(http.MethodDelete, "/v1/nodes/"+node+"/"+item, ""); code/100 != 2 {
		c.t.Fatalf("delete %s: %d %s", item, code, text)
	}
}

func (c *api) get(node, item string) resource {
	c.t.Helper()
	code, text := c.do(http.MethodGet, "/v1/nodes/"+node+"/"+item, "")
	if code != http.StatusOK {
		c.t.Fatalf("get %s: %d %s", item, code, text)
	}
	var r resource
	if err := json.Unmarshal(text, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// converge waits until every item has.
func (c *api) converge(node string, items ...string) {
	c.t.Helper()
	for _, item := range items {
		until(c.t, fmt.Sprintf("%s to converge", item), func() bool { return c.get(node, item).Status.Converged })
	}
}

// The applications of the tests, by mode. Each counts on SIGTERM to end.
const forever = `"command":["/bin/sh","-c","trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"]`

func container(extra string) string {
	return `{"component":"file://` + rootfs + `","mode":"container","run":{` + forever + `,"resources":{"memory":"32Mi","pids":16}` + extra + `}}`
}

const (
	attached = `{"mode":"attach","attachTo":"web","run":{` + forever + `}}`
	onHost   = `{"mode":"host","run":{` + forever + `}}`
)
