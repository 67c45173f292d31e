package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/override"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
	"gnomon/shadow"
)

// Limits of the socket.
const (
	maxConnections = 32      // at a time; more wait to be taken
	maxBody        = 1 << 20 // bytes of a request
	maxHeader      = 8 << 10
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second // of an answer, or of one piece of a log that is followed
)

// Config of a Server. All but Log are required.
type Config struct {
	Status    func() Status
	Overrides Overrides
	Wanted    Wanted
	Loop      Loop
	Usage     Usage
	Meters    Meters
	LogPath   func(app string) string
	Instance  func(app string) (instance.Dir, error) // of a running application
	Readings  Readings
	Reader    Reader
	Shim      string
	Log       *slog.Logger // default: discard
}

// Server answers on a socket.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	marks marks

	finding chan struct{} // who looks up readings
}

// New returns a server that does nothing yet.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), finding: make(chan struct{}, maxFinding)}
	s.get("GET /v1/status", func(*http.Request) (any, error) { return cfg.Status(), nil })
	s.get("GET /v1/applications", s.list)
	s.get("GET /v1/applications/{name}", s.application)
	s.get("PUT /v1/applications/{name}", s.put)
	s.get("PATCH /v1/applications/{name}", s.patch)
	s.get("DELETE /v1/applications/{name}", s.remove)
	s.get("POST /v1/applications/{name}/restart", s.restart)
	s.get("POST /v1/applications/{name}/exec", s.exec)
	s.get("GET /v1/overrides", func(*http.Request) (any, error) { return cfg.Overrides.All(), nil })
	s.get("GET /v1/overrides/{name}", s.override)
	s.get("DELETE /v1/overrides/{name}", s.clear)
	s.get("GET /v1/usage", s.usage)
	s.mux.HandleFunc("GET /v1/readings", s.readings)
	s.get("GET /v1/readings/gaps", s.gaps)
	s.get("POST /v1/readings/read", s.readNow)
	s.get("GET /v1/plan", func(r *http.Request) (any, error) { return cfg.Loop.Plan(r.Context()) })
	s.get("POST /v1/policies/{name}/write", s.write)
	s.mux.HandleFunc("GET /v1/applications/{name}/logs", s.logs)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &Problem{Status: http.StatusNotFound, Code: "no-such-path", Detail: r.Method + " " + r.URL.Path + " is not served"})
	})
	return s
}

// get serves what an answer as JSON is given to.
func (s *Server) get(pattern string, answer func(*http.Request) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r.WithContext(context.WithValue(r.Context(), writerKey{}, w)))
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the asker may have left
	})
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader, ReadTimeout: readTimeout, IdleTimeout: time.Minute, WriteTimeout: writeTimeout,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	var marking sync.WaitGroup
	defer marking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	marking.Go(func() { s.marks.run(ctx, s.names, s.cfg.LogPath) })
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(bounded(l, maxConnections)); ctx.Err() == nil {
		return fmt.Errorf("local socket: %w", err)
	}
	return nil
}

// ServeHTTP lets in who may come in.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(peerKey{}).(peer)
	if !p.known || p.uid != 0 && p.uid != uint32(os.Geteuid()) {
		refuse(w, &Problem{Status: http.StatusForbidden, Code: "forbidden",
			Detail: fmt.Sprintf("user %d may not ask the agent", p.uid), Next: "ask as root, or as the user that the agent runs as"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

type peerKey struct{}

// peer is who is at the other end, as the kernel has it.
type peer struct {
	known bool
	uid   uint32
	pid   int32
}

func peerOf(c net.Conn) peer {
	if b, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = b.NetConn()
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil || err != nil {
		return peer{}
	}
	return peer{true, cred.Uid, cred.Pid}
}

// asker names who asks. What they say of themselves is told beside it.
func asker(r *http.Request, said string) string {
	p, _ := r.Context().Value(peerKey{}).(peer)
	name := "user " + strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(strconv.FormatUint(uint64(p.uid), 10)); err == nil {
		name = u.Username
	}
	if said == "" || said == name {
		return name
	}
	return said + " (" + name + ")"
}

// read reads a body.
func read(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "limit", Detail: fmt.Sprintf("the body has more than %d bytes", large.Limit)}
	case errors.Is(err, io.EOF):
		return nil // nothing is said
	case err != nil:
		return bad("invalid", "the body can't be read: "+err.Error(), "")
	}
	return nil
}

// valueLimits are those of what an application shall be; override checks its own.
var valueLimits = shadow.Limits{StateBytes: maxBody, Depth: 64, BodyBytes: maxBody}

// change reads what somebody wants.
func change(r *http.Request, do override.Action) (c override.Change, dry bool, err error) {
	var in Change
	if err := read(r, &in); err != nil {
		return c, false, err
	}
	text, member := in.Patch, "patch"
	if do == override.Replace || do == override.Install {
		text, member = in.Wanted, "wanted"
	}
	c = override.Change{Do: do, App: r.PathValue("name"), Reason: in.Reason, By: asker(r, in.By), For: in.For.D()}
	switch {
	case do == override.Remove:
	case len(text) == 0:
		return c, false, bad("invalid", member+" is missing", "")
	default:
		if c.Value, err = shadow.Parse(text, valueLimits); err != nil {
			return c, false, bad("invalid", member+": "+err.Error(), "")
		}
		if c.Value.Kind() != shadow.Object {
			return c, false, bad("invalid", member+" must be an object", "")
		}
	}
	if in.For.D() < 0 {
		return c, false, bad("invalid", "for must not be negative", "")
	}
	return c, in.Dry, nil
}

// make makes a change, or says what it would do.
func (s *Server) make(r *http.Request, do override.Action) (any, error) {
	c, dry, err := change(r, do)
	if err != nil {
		return nil, err
	}
	if dry {
		if err := s.cfg.Overrides.Check(c); err != nil {
			return nil, err
		}
		plan, err := s.cfg.Loop.Plan(r.Context(), loop.Change{App: c.App, Patch: c.Value, Whole: do != override.Patch, Delete: do == override.Remove})
		return Outcome{Plan: &plan}, err
	}
	told, err := s.cfg.Overrides.Make(c)
	if err != nil {
		return nil, err
	}
	if told.Kind == "" {
		return Outcome{}, nil
	}
	return Outcome{Override: &told}, nil
}

func (s *Server) patch(r *http.Request) (any, error)  { return s.make(r, override.Patch) }
func (s *Server) remove(r *http.Request) (any, error) { return s.make(r, override.Remove) }

// put installs what isn't there, and replaces what is. If-None-Match: * and
// If-Match: * ask for the one or the other alone.
func (s *Server) put(r *http.Request) (any, error) {
	_, wanted := s.cfg.Wanted.Wanted(r.PathValue("name"))
	switch {
	case r.Header.Get("If-None-Match") == "*", wanted == nil && r.Header.Get("If-Match") == "":
		return s.make(r, override.Install)
	}
	return s.make(r, override.Replace)
}

// freshWithin is how long a sample is waited for. What is older then is as good as
// it gets.
const freshWithin = 3 * time.Second

// usage is what is used at the time of asking.
func (s *Server) usage(r *http.Request) (any, error) {
	asked := time.Now()
	s.cfg.Usage.Hurry()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now := s.cfg.Usage.Usage()
		if now.At.After(asked) || time.Since(asked) > freshWithin {
			return now, nil
		}
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-tick.C:
		}
	}
}

func (s *Server) restart(r *http.Request) (any, error) {
	name := r.PathValue("name")
	s.cfg.Log.Info("restart asked for on the node", "app", name, "by", asker(r, ""))
	return struct{}{}, s.cfg.Loop.Restart(r.Context(), name)
}

func (s *Server) exec(r *http.Request) (any, error) {
	name := r.PathValue("name")
	if err := s.known(name); err != nil {
		return nil, err
	}
	dir, err := s.cfg.Instance(name)
	if err != nil {
		return nil, &Problem{Status: http.StatusConflict, Code: "not-running", Detail: err.Error(), Next: "gnomon-edge explain " + name + " says why"}
	}
	s.cfg.Log.Info("entered on the node", "app", name, "by", asker(r, ""))
	return Entry{Instance: string(dir), Shim: s.cfg.Shim}, nil
}

// names are those of the applications.
func (s *Server) names() (all []string) {
	for _, a := range s.cfg.Status().Applications {
		all = append(all, a.Name)
	}
	return all
}

func (s *Server) known(name string) error {
	for _, a := range s.cfg.Status().Applications {
		if a.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", override.ErrUnknown, name)
}

func (s *Server) clear(r *http.Request) (any, error) {
	name := r.PathValue("name")
	s.cfg.Log.Info("override ended by hand", "app", name, "by", asker(r, ""))
	return Outcome{}, s.cfg.Overrides.Clear(name)
}

func (s *Server) override(r *http.Request) (any, error) {
	name := r.PathValue("name")
	if o := s.overrideOf(name); o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("%w: of %s", override.ErrNone, name)
}

func (s *Server) overrideOf(name string) *override.Told {
	for _, o := range s.cfg.Overrides.All() {
		if o.Name == name {
			return &o
		}
	}
	return nil
}

func (s *Server) list(*http.Request) (any, error) {
	all := []Application{}
	for _, a := range s.cfg.Status().Applications {
		all = append(all, Application{Application: a, Override: s.overrideOf(a.Name)})
	}
	for _, o := range s.cfg.Overrides.All() { // what is taken off the node is on no list of the loop
		if o.Kind == schema.OverrideRemoved {
			one := Application{Override: &o}
			one.Name, one.Phase = o.Name, Uninstalled
			all = append(all, one)
		}
	}
	return all, nil
}

func (s *Server) application(r *http.Request) (any, error) {
	all, _ := s.list(r)
	for _, a := range all.([]Application) {
		if a.Name == r.PathValue("name") {
			desired, wanted := s.cfg.Wanted.Wanted(a.Name)
			a.Desired, a.Wanted = text(desired), text(wanted)
			return a, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", override.ErrUnknown, r.PathValue("name"))
}

func text(v *shadow.Value) json.RawMessage {
	if v == nil {
		return nil
	}
	return v.AppendJSON(nil)
}
