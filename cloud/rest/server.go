package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/index"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/cloud/twin"
	"gnomon/shadow"
)

// Reader is what the API reads through.
type Reader interface {
	Get(ctx context.Context, p identity.Principal, key store.Key) (*shadow.Document, error)
	Shadows(ctx context.Context, p identity.Principal, thing string, page twin.Page) ([]twin.Entry, string, error)
	Nodes(ctx context.Context, p identity.Principal, page twin.Page) ([]twin.Entry, string, error)
	Named(ctx context.Context, p identity.Principal, thing string, page twin.Page) ([]string, string, error)
}

// Writer is what the API writes through.
type Writer interface {
	Update(ctx context.Context, p identity.Principal, key store.Key, u *shadow.Update) (*shadow.Document, error)
	ReplaceDesired(ctx context.Context, p identity.Principal, key store.Key, desired *shadow.Value, expect *uint64) (*shadow.Document, bool, error)
	Delete(ctx context.Context, p identity.Principal, key store.Key, expect *uint64) (*shadow.Document, error)
	EditDesired(ctx context.Context, p identity.Principal, key store.Key, e twin.Edit) (*shadow.Document, error)
}

// Past is where earlier versions of desired are, and how to get back to them.
type Past interface {
	History(ctx context.Context, p identity.Principal, key store.Key) (*history.Log, *shadow.Document, error)
	Revert(ctx context.Context, p identity.Principal, key store.Key, version uint64, expect *uint64) (*shadow.Document, bool, error)
}

// Changer is what change-sets go through.
type Changer interface {
	Change(ctx context.Context, p identity.Principal, thing string, c *changeset.Change, dry bool) (*twin.ChangeSet, error)
	CancelChange(ctx context.Context, p identity.Principal, thing string, generation uint64) (*twin.ChangeSet, error)
}

// Changes is where change-sets are read.
type Changes interface {
	ChangeRules() changeset.Rules
	ChangeOf(ctx context.Context, p identity.Principal, thing string, generation uint64) (*twin.ChangeSet, error)
	Changes(ctx context.Context, p identity.Principal, thing string) ([]*twin.ChangeSet, error)
	OpenChanges(p identity.Principal, after string, limit int) ([]string, error)
}

// Lives is what there is of a shadow beside what it is now.
type Lives interface {
	Past
	Changer
	Changes
}

// Watcher is where events come from.
type Watcher interface {
	Watch(p identity.Principal, after string) (*twin.Subscription, error)
	EventID(position uint64) string
}

// Finder is the index of shadows as HTTP sees it.
type Finder interface {
	List(ctx context.Context, p identity.Principal, q index.Query) (*index.Page, error)
	Count(ctx context.Context, p identity.Principal, q index.Counting) (*index.Counts, error)
	Filter(s index.Selector) (index.Filter, error)
	Wait(ctx context.Context, key store.Key, version uint64) error
}

// Shadows is the shadow service as HTTP sees it.
type Shadows interface {
	Reader
	Writer
	Lives
	Watcher
}

// Config is what a Server stands on. Zero fields have the defaults given.
type Config struct {
	Address  string // host:port to listen on
	Shadows  Shadows
	Index    Finder        // nil: questions across nodes are refused
	Readings Readings      // nil: collected readings are not here
	Traces   *trace.Log    // what became of recent changes; nil: nobody remembers
	Topics   Messages      // the broker; nil: no topics, no retained messages
	Ready    func() error  // why the cloud can't serve; nil when it can
	Limits   shadow.Limits // default shadow.DefaultLimits
	Export   Exporter      // nil: there is none
	Timeout  time.Duration // of one request, events excepted; default 30s
	Local    bool          // answer only requests that are addressed to loopback
	Log      *slog.Logger
	Metrics  *prometheus.Registry // nil: /metrics has only HTTP itself
}

// Server serves the API. Listen binds, Run serves.
type Server struct {
	cfg               Config
	echo              *echo.Echo
	api               huma.API
	listener          net.Listener
	metrics           metrics
	exporting         chan struct{} // taken by the export under way
	exportingReadings chan struct{} // a place in it is leave to export readings
	closing           chan struct{} // closed when Run ends: event streams end with it
	streams           chan struct{} // a place in it is leave to stream events
	answers           *answers
}

// New returns a server that doesn't listen yet.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Traces == nil {
		cfg.Traces = trace.New(trace.Config{})
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Limits.BodyBytes == 0 {
		cfg.Limits = shadow.DefaultLimits
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	s := &Server{cfg: cfg, echo: echo.New(), metrics: newMetrics(cfg.Metrics), closing: make(chan struct{})}
	s.exporting, s.exportingReadings = make(chan struct{}, 1), make(chan struct{}, maxReadingsExports)
	s.streams, s.answers = make(chan struct{}, maxStreams), newAnswers(time.Now)
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.Logger.SetOutput(io.Discard) // what is worth saying goes to cfg.Log
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Pre(s.identify, s.trace, s.observe, s.contain, s.guard, s.decodePath, s.limit, s.idempotent)
	s.api = humaecho.NewV4(s.echo, apiConfig())
	s.routes()
	return s
}

func (s *Server) routes() {
	e := s.echo
	e.GET("/things/:thing/shadow", s.getShadow)
	e.POST("/things/:thing/shadow", s.updateShadow)
	e.DELETE("/things/:thing/shadow", s.deleteShadow)
	e.GET("/api/things/shadow/ListNamedShadowsForThing/:thing", s.listNamedShadows)
	e.GET(eventsPath, s.events)
	e.GET(watchPath, s.watch)
	e.GET(exportPath, s.export)
	e.GET("/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", func(c echo.Context) error {
		if err := s.cfg.Ready(); err != nil {
			return c.String(http.StatusServiceUnavailable, err.Error()+"\n")
		}
		return c.String(http.StatusOK, "ok\n")
	})
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{})))
	s.messageRoutes()
	s.registerResources()
	s.registerQueries()
	s.registerReceipts()
	s.registerHistory()
	s.registerExplain()
	s.registerChanges()
	s.registerReadings()
	s.documentEvents()
	s.documentExport()
}

// Handler returns the server's routes, for tests and other servers.
func (s *Server) Handler() http.Handler { return s.echo }

// Listen binds the address, so that what it is, and whether it is free, is known
// before Run.
func (s *Server) Listen() (net.Addr, error) {
	l, err := net.Listen("tcp", s.cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s.listener = l
	return l.Addr(), nil
}

// Close lets go of the address when Run is not going to be called.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx ends and requests under way are answered, or 10 s have passed.
// It serves once: no stream is let in afterwards.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		return errors.New("http: Run before Listen")
	}
	server := &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       s.cfg.Timeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	close(s.closing) // event streams end, or they would hold the shutdown up
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	<-failed
	s.awaitStreams()
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// farewell is how long who follows events by a WebSocket may take to hear that the
// server ends.
const farewell = time.Second

// awaitStreams waits until no stream is left, or for as long as farewell: those of
// WebSockets are none of net/http's any more.
func (s *Server) awaitStreams() {
	late := time.After(farewell)
	for range cap(s.streams) {
		select {
		case s.streams <- struct{}{}:
		case <-late:
			return
		}
	}
}

// principal says who a request is made for: in development mode everybody is
// the local operator.
func (s *Server) principal(context.Context) identity.Principal { return identity.LocalOperator }
