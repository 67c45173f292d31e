package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/link"
	"gnomon/edge/readiness"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/upgrade"
)

// nodeStatus is what the agent says of itself on its own node.
type nodeStatus struct {
	Node      string         `json:"node"`
	Agent     string         `json:"agent"`
	PID       int            `json:"pid"`
	BootEpoch uint64         `json:"bootEpoch"`
	StartedAt time.Time      `json:"startedAt"`
	Cloud     string         `json:"cloud"`
	Link      link.Status    `json:"link"`
	Upgrade   upgrade.Status `json:"upgrade,omitzero"`
	loop.Status
	Usage  usage.Snapshot `json:"usage"`
	Alarms []alarm.Raised `json:"alarms"` // that are raised, the latest last

	Readiness readiness.Report `json:"readiness"` // for being without the cloud
}

func (a *agent) status() nodeStatus {
	return nodeStatus{
		Node: a.cfg.Node, Agent: version, PID: os.Getpid(), BootEpoch: a.node.BootEpoch, StartedAt: a.node.StartedAt,
		Cloud: a.cfg.Cloud, Link: a.link.Status(), Upgrade: a.upgrade.Status(), Status: a.loop.Status(),
		Usage: a.health.Usage(), Alarms: a.health.Alarms(), Readiness: a.health.Readiness(),
	}
}

const socketName = "agent.sock"

// listen opens the agent's socket. Whoever holds the state's lock owns it, so
// one that is there was left behind.
func listen(data string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(data, socketName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	path, release, err := short(data)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Closing would unlink the short path, which is not valid then.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(data, socketName), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// short names the socket in a way that fits into the 107 bytes a socket's
// address has, however deep the directory is.
func short(data string) (path string, release func(), err error) {
	dir, err := os.Open(data)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName), func() { dir.Close() }, nil
}

// serve answers on the socket until ctx ends.
func serve(ctx context.Context, l net.Listener, status func() nodeStatus) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(status()); err != nil {
			return // the asker has left
		}
	})
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("status socket: %w", err)
	}
	return nil
}

func statusCommand() *cobra.Command {
	data, format := "/var/lib/gnomon", "table"
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show the node as its agent sees it; needs no cloud",
		Example: "  gnomon-edge status --data /var/lib/gnomon -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := output.Parse(format)
			if err != nil {
				return usageError{err}
			}
			s, err := askStatus(c.Context(), data)
			if err != nil {
				return err
			}
			if f != output.Table {
				return output.Write(c.OutOrStdout(), f, s)
			}
			return s.print(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&data, "data", data, "the agent's directory")
	c.Flags().StringVarP(&format, "output", "o", format, "json, yaml or table")
	return c
}

// askStatus asks the agent that runs on a directory.
func askStatus(ctx context.Context, data string) (*nodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, release, err := short(data)
		if err != nil {
			return nil, err
		}
		defer release()
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no agent runs on %s; start one with gnomon-edge run, or name its directory with --data", data)
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	s := new(nodeStatus)
	return s, json.NewDecoder(io.LimitReader(answer.Body, 16<<20)).Decode(s)
}

func (s *nodeStatus) print(w io.Writer) error {
	connection := "connected to " + s.Cloud
	if !s.Link.Connected {
		connection = "no connection to " + s.Cloud
		if s.Link.Problem != "" {
			connection += ": " + s.Link.Problem
		}
	}
	fmt.Fprintf(w, "%s: %s\n", s.Node, connection)
	fmt.Fprintf(w, "agent %s, pid %d, started %s, %d reports not yet taken by the cloud\n",
		s.Agent, s.PID, s.StartedAt.UTC().Format(time.RFC3339), len(s.Link.Pending))
	if u := s.Upgrade; u.Phase != "" {
		fmt.Fprintf(w, "upgrade from %s to %s: %s%s\n", u.From, u.To, u.Phase, u.Why())
	}
	for _, r := range s.Link.Refused {
		fmt.Fprintf(w, "the cloud refuses the report of %q: %s\n", r.Shadow, r.Message)
	}
	if n := s.Store.SetAside; n > 0 {
		fmt.Fprintf(w, "%d records on disk did not check out and are set aside: %s\n", n, strings.Join(s.Store.Records, ", "))
	}
	if e := s.Store.Error; e != nil {
		fmt.Fprintf(w, "nothing can be written since %s: %s: %s\n", e.At.UTC().Format(time.RFC3339), e.Code, e.Message)
	}
	for _, a := range s.Alarms {
		fmt.Fprintln(w, alarmLine(a))
	}
	printReadiness(w, s.Readiness)
	rows := make([][]string, 0, len(s.Applications))
	for _, a := range s.Applications {
		rows = append(rows, []string{a.Name, a.Mode, a.Phase, pid(a.PID), strconv.Itoa(a.Restarts), versions(a.ObservedVersion, a.DesiredVersion), a.Plan.Trace, a.Why()})
	}
	if err := section(w, "applications", []string{"APPLICATION", "MODE", "PHASE", "PID", "RESTARTS", "VERSION", "TRACE", "WHY"}, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for _, p := range s.Policies {
		rows = append(rows, []string{p.Name, p.Phase, strconv.FormatUint(p.Cycles, 10), fmt.Sprintf("%d/%d", p.Success, p.Meters), versions(p.ObservedVersion, p.DesiredVersion), p.Plan.Trace, p.Why()})
	}
	return section(w, "policies", []string{"POLICY", "PHASE", "CYCLES", "METERS READ", "VERSION", "TRACE", "WHY"}, rows)
}

// section prints a table, or that there is nothing to be in it.
func section(w io.Writer, what string, header []string, rows [][]string) error {
	fmt.Fprintln(w)
	if len(rows) == 0 {
		fmt.Fprintln(w, "no", what)
		return nil
	}
	return output.Rows(w, header, rows)
}

// versions are the desired version that was acted on last, and the one that is
// wanted, if that is another.
func versions(observed, desired uint64) string {
	if observed == desired {
		return strconv.FormatUint(desired, 10)
	}
	return fmt.Sprintf("%d, wanted %d", observed, desired)
}

func pid(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
