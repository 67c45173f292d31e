package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/schema"
)

// session is an agent that is being asked.
type session struct {
	*gosnmp.GoSNMP
	ctx  context.Context // of the poll, which the session doesn't outlive
	wire *wire
	stop func() bool

	knew bool // the agent's engine, before it was asked
}

// wire is the connection under a session: it counts requests and answers, keeps what went
// wrong with it last, which gosnmp turns to text, and ends with the poll.
type wire struct {
	net.Conn
	ctx  context.Context
	sent int
	came int
	err  error
}

func (w *wire) Write(p []byte) (int, error) {
	w.sent++
	n, err := w.Conn.Write(p)
	w.err = err
	return n, err
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.err = err; err == nil {
		w.came++
	}
	return n, err
}

// SetDeadline never gives a poll that has ended more time.
func (w *wire) SetDeadline(t time.Time) error {
	if err := w.Conn.SetDeadline(t); err != nil {
		return err
	}
	if w.ctx.Err() != nil {
		return w.Conn.SetDeadline(past)
	}
	return nil
}

var past = time.Unix(1, 0)

// versions are the versions by their names in policies.
var versions = map[string]gosnmp.SnmpVersion{"1": gosnmp.Version1, "2c": gosnmp.Version2c, "3": gosnmp.Version3}

// open makes ready to ask an agent. What version 3 has learnt of its engine stays
// with the agent, so that it is asked for only once.
func (a *agent) open(ctx context.Context, s schema.Source, m schema.Meter, dir credentials.Dir) (*session, error) {
	host, port, ok := schema.SNMPTarget(m.Address)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no address", collect.ErrLink, m.Address)
	}
	var c credentials.Credentials
	if s.Credentials != "" {
		var err error
		if c, err = dir.Read(s.Credentials); err != nil {
			return nil, err
		}
	}
	g := &gosnmp.GoSNMP{
		Target: host, Port: uint16(port), Version: versions[s.Version], Context: ctx,
		Timeout: s.Timeout.D(), Retries: s.Tries - 1, MaxOids: s.MaxOIDs,
	}
	if g.Version == gosnmp.Version3 {
		if err := a.secure(g, s.Credentials, c); err != nil {
			return nil, err
		}
	} else if g.Community = credentials.Reveal(c.Community); g.Community == "" {
		g.Community = "public"
	}
	if err := g.Connect(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	w := &wire{Conn: g.Conn, ctx: ctx}
	g.Conn = w
	knew := a.user != nil && a.user.AuthoritativeEngineID != ""
	return &session{g, ctx, w, context.AfterFunc(ctx, func() { _ = w.Conn.SetDeadline(past) }), knew}, nil
}

func (s *session) close() {
	s.stop()
	s.wire.Close()
}

// secure sets up version 3.
func (a *agent) secure(g *gosnmp.GoSNMP, name string, c credentials.Credentials) error {
	u, err := user(c)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", collect.ErrCredentials, name, err)
	}
	if a.user == nil || a.of != c {
		a.user, a.of, a.engine = u, c, ""
	}
	g.SecurityModel, g.SecurityParameters = gosnmp.UserSecurityModel, a.user
	g.ContextName, g.ContextEngineID = c.Context, a.engine
	switch {
	case u.PrivacyProtocol != gosnmp.NoPriv:
		g.MsgFlags = gosnmp.AuthPriv
	case u.AuthenticationProtocol != gosnmp.NoAuth:
		g.MsgFlags = gosnmp.AuthNoPriv
	default:
		g.MsgFlags = gosnmp.NoAuthNoPriv
	}
	return nil
}

var authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
	"": gosnmp.NoAuth, "MD5": gosnmp.MD5, "SHA": gosnmp.SHA, "SHA224": gosnmp.SHA224, "SHA256": gosnmp.SHA256, "SHA384": gosnmp.SHA384, "SHA512": gosnmp.SHA512,
}

var privProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
	"": gosnmp.NoPriv, "DES": gosnmp.DES, "AES": gosnmp.AES, "AES192": gosnmp.AES192, "AES256": gosnmp.AES256, "AES192C": gosnmp.AES192C, "AES256C": gosnmp.AES256C,
}

// minPassword is the shortest that version 3 makes a key of (RFC 3414, 11.2).
const minPassword = 8

// user is who asks.
func user(c credentials.Credentials) (*gosnmp.UsmSecurityParameters, error) {
	auth, knowsAuth := authProtocols[c.AuthProtocol]
	priv, knowsPriv := privProtocols[c.PrivProtocol]
	authPassword, privPassword := credentials.Reveal(c.AuthPassword), credentials.Reveal(c.PrivPassword)
	switch {
	case c.User == "":
		return nil, errors.New("user is missing")
	case !knowsAuth:
		return nil, errors.New("authProtocol must be MD5, SHA, SHA224, SHA256, SHA384 or SHA512")
	case !knowsPriv:
		return nil, errors.New("privProtocol must be DES, AES, AES192, AES256, AES192C or AES256C")
	case (auth == gosnmp.NoAuth) != (authPassword == ""):
		return nil, errors.New("authProtocol and authPassword belong together")
	case (priv == gosnmp.NoPriv) != (privPassword == ""):
		return nil, errors.New("privProtocol and privPassword belong together")
	case priv != gosnmp.NoPriv && auth == gosnmp.NoAuth:
		return nil, errors.New("privProtocol needs authProtocol")
	case authPassword != "" && len(authPassword) < minPassword || privPassword != "" && len(privPassword) < minPassword:
		return nil, fmt.Errorf("passwords have %d characters at least", minPassword)
	}
	return &gosnmp.UsmSecurityParameters{
		UserName: c.User, AuthenticationProtocol: auth, AuthenticationPassphrase: authPassword,
		PrivacyProtocol: priv, PrivacyPassphrase: privPassword,
	}, nil
}

// unaccepted are the reports of an agent that doesn't know us.
var unaccepted = []error{gosnmp.ErrUnknownUsername, gosnmp.ErrWrongDigest, gosnmp.ErrDecryption, gosnmp.ErrUnknownSecurityLevel}

// Reports of an agent that can't tell who we are aren't authenticated, and gosnmp
// refuses them with this text and no error of their own.
const unauthentic = "not authentic"

// errEngine: the agent's answers aren't authentic for the engine that it had.
var errEngine = fmt.Errorf("%w: the answer is not authentic: the password is wrong, or another agent answers", collect.ErrCredentials)

// maxText bounds what gosnmp says of a broken packet, which may be all of it.
const maxText = 120

// classify turns what gosnmp makes of a failed request into one of the reasons.
func (s *session) classify(err error) error {
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.Is(s.wire.err, os.ErrDeadlineExceeded):
		return collect.ErrTimeout
	case s.wire.err != nil:
		return fmt.Errorf("%w: %w", collect.ErrLink, s.wire.err)
	}
	for _, u := range unaccepted {
		if errors.Is(err, u) {
			return fmt.Errorf("%w: the agent says: %w", collect.ErrCredentials, u)
		}
	}
	if s.Version == gosnmp.Version3 && strings.Contains(err.Error(), unauthentic) {
		if s.knew {
			return errEngine
		}
		return fmt.Errorf("%w: wrong password, or another agent answers", collect.ErrCredentials)
	}
	text, _, _ := strings.Cut(err.Error(), "Stack:")
	return fmt.Errorf("%w: %.*s", collect.ErrGarbled, maxText, strings.TrimSpace(text))
}
