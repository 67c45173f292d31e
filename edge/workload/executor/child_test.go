package executor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/executor"
)

// childEnv makes the test program an agent that starts one workload, or runs a
// program beside one: a process of its own, which can be killed.
const childEnv = "GNOMON_TEST_START"

// order is what such an agent shall do.
type order struct {
	Data, Shim, Cgroup string
	Spec               workload.Spec

	Instance string // beside which Command is run
	Command  []string
}

func child() int {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o)
	if err == nil {
		err = failpoint.Arm(os.Getenv(failpoint.Env))
	}
	var e *executor.Executor
	if err == nil {
		e, err = executor.New(executor.Config{Data: o.Data, Shim: o.Shim, Cgroup: o.Cgroup})
	}
	switch {
	case err != nil:
	case o.Command != nil:
		_, _, err = e.Exec(context.Background(), o.Spec.Name, o.Instance, o.Command)
	default:
		_, err = e.Start(context.Background(), o.Spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// elsewhere starts a workload in another process, which may have something armed.
func (n *node) elsewhere(s workload.Spec, armed string) (output string, err error) {
	n.t.Helper()
	out, err := n.another(order{Spec: s}, armed).CombinedOutput()
	return string(out), err
}

// another is an agent of the same node, in another process.
func (n *node) another(o order, armed string) *exec.Cmd {
	n.t.Helper()
	o.Data, o.Shim, o.Cgroup = n.data, shimPath, n.cgroup
	text, err := json.Marshal(o)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), failpoint.Env+"="+armed)
	return cmd
}
