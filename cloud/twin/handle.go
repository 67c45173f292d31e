package twin

import (
	"context"
	"errors"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Handle serves one MQTT request and publishes its answer. done is called
// exactly once: with nil when the request has been dealt with, which for a
// change means after the commit and for a bad request after its rejection; with
// an error when it may not be acknowledged, because the store failed. body is
// not kept.
func (s *Service) Handle(ctx context.Context, p identity.Principal, t wire.Topic, body []byte, done func(error)) {
	var err error
	switch t.Op {
	case wire.OpUpdate:
		err = s.handleUpdate(ctx, p, t, body, done)
	case wire.OpDelete:
		err = s.handleDelete(ctx, p, t, body, done)
	case wire.OpGet:
		if err = s.handleGet(ctx, p, t, body); err == nil {
			done(nil)
		}
	default:
		if err = s.handleSync(ctx, p, t, body); err == nil {
			done(nil)
		}
	}
	if err != nil {
		s.reject(t, body, err)
		done(fatal(err))
	}
}

// fatal keeps only errors after which a request may not be acknowledged.
func fatal(err error) error {
	var u *unavailableError
	if errors.As(err, &u) {
		return err
	}
	return nil
}

func (s *Service) reject(t wire.Topic, body []byte, err error) {
	s.rejectAs(t, wire.ClientToken(body), err)
}

func (s *Service) rejectAs(t wire.Topic, token string, err error) {
	if topic := t.Rejected(); s.cfg.Publisher.Subscribed(topic) {
		s.cfg.Publisher.Publish(topic, wire.AppendRejected(nil, err, s.now(), token))
	}
}

func (s *Service) handleUpdate(ctx context.Context, p identity.Principal, t wire.Topic, body []byte, done func(error)) error {
	u, err := shadow.ParseUpdate(body, s.cfg.Limits)
	if err != nil {
		return s.metrics.count(err)
	}
	key := store.Key{Thing: t.Thing, Shadow: t.Shadow}
	return s.submit(ctx, change{
		principal: p, key: key, request: &t, plan: s.planUpdate(key, u),
		done: s.answer(t, u.ClientToken, done),
	})
}

// answer ends a request whose change was decided after submit accepted it.
// Failures of the store are for the client to find out: it isn't acknowledged.
func (s *Service) answer(t wire.Topic, token string, done func(error)) func(*shadow.Document, error) {
	return func(_ *shadow.Document, err error) {
		if err != nil && fatal(err) == nil {
			s.rejectAs(t, token, err)
		}
		done(fatal(err))
	}
}

func (s *Service) handleDelete(ctx context.Context, p identity.Principal, t wire.Topic, body []byte, done func(error)) error {
	r, err := shadow.ParseRequest(body, s.cfg.Limits)
	if err != nil {
		return s.metrics.count(err)
	}
	key := store.Key{Thing: t.Thing, Shadow: t.Shadow}
	return s.submit(ctx, change{
		principal: p, key: key, request: &t, plan: planDelete(key, r.Version, r.ClientToken),
		done: s.answer(t, r.ClientToken, done),
	})
}

func (s *Service) handleGet(ctx context.Context, p identity.Principal, t wire.Topic, body []byte) error {
	r, err := shadow.ParseRequest(body, s.cfg.Limits)
	if err != nil {
		return err
	}
	d, err := s.Get(ctx, p, store.Key{Thing: t.Thing, Shadow: t.Shadow})
	if err != nil {
		return err
	}
	s.cfg.Publisher.Publish(t.Accepted(), wire.AppendGet(nil, d, s.now(), r.ClientToken))
	return nil
}

func (s *Service) handleSync(ctx context.Context, p identity.Principal, t wire.Topic, body []byte) error {
	r, err := wire.ParseSyncRequest(body)
	if err != nil {
		return err
	}
	reply, err := s.Sync(ctx, p, t.Thing, r)
	if err != nil {
		return err
	}
	s.cfg.Publisher.Publish(t.Accepted(), reply.Append(nil))
	return nil
}
