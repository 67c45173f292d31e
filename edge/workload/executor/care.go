package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
)

// Group returns the cgroup of the latest instance of a name.
func (e *Executor) Group(name string) (cgroup.Group, error) {
	f, ok := e.find(name)
	if !ok {
		return cgroup.Group{}, fmt.Errorf("%w: %s", workload.ErrNotFound, name)
	}
	return e.group(f)
}

// Footprint lists where a name has files: its data and volumes, its writable layers
// and its logs. They need not be there.
func (e *Executor) Footprint(name string) (data, layers, logs []string) {
	log := e.LogPath(name)
	logs = append(logs, log)
	for i := 1; i < e.cfg.LogFiles; i++ {
		logs = append(logs, log+"."+strconv.Itoa(i))
	}
	data = []string{e.DataPath(name), filepath.Join(e.app(name), "volumes"), filepath.Join(e.cfg.Data, "volumes", name)}
	return data, []string{filepath.Join(e.app(name), "layers")}, logs
}

// Roots lists the unpacked components that instances were started from, so that
// they are not deleted under them.
func (e *Executor) Roots() ([]string, error) {
	names, err := os.ReadDir(filepath.Join(e.cfg.Data, "run"))
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, n := range names {
		for _, f := range e.instances(n.Name()) {
			if f.req.Spec.Root != "" {
				roots = append(roots, f.req.Spec.Root)
			}
		}
	}
	return roots, nil
}
