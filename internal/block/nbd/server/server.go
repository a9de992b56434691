package server

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/export"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// handshakeTime is how long a client may take from its connection to its first
// request.
const handshakeTime = 10 * time.Second

// DefaultConnections is how many clients there are at once, unless the user says.
const DefaultConnections = 100

// Config says what a Server works with.
type Config struct {
	Exports *export.Set
	Lane    *lane.Lane
	// TLS and Authz return objects by their IDs, and what ends their use, which by
	// has for messages.
	TLS   func(id, by string) (sock.TLSCreds, func(), error)
	Authz func(id, by string) (sock.Authz, func(), error)
	// Names looks up the descriptor that an address may name, for whom a command
	// comes from; unused closes it if it was not used.
	Names func(ctx *qmp.Context, a sock.Address) (names *sock.Names, unused func(), err error)
}

// Server is the NBD server of a machine. It is started and stopped on the lane.
type Server struct {
	cfg      Config
	on       *listening // nil: not running
	starting bool
	running  sync.WaitGroup // goroutines

	mu     sync.Mutex
	offers map[string]*offer
}

// New returns a server that does not run yet, and makes the exports of type nbd
// known to cfg.Exports.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, offers: map[string]*offer{}}
	cfg.Exports.Handle(exportType, s.newOffer)
	return s
}

// listening is the time from a start to a stop.
type listening struct {
	server *Server
	ln     *sock.Listener
	creds  sock.TLSCreds
	authz  sock.Authz
	done   func() // ends the use of creds and authz
	ctx    context.Context
	end    context.CancelFunc
	places chan struct{} // nil: any number of clients
}

var (
	errRunning    = block.Errorf(block.KindInUse, "NBD server already running")
	errNotRunning = block.Errorf(block.KindInvalid, "NBD server not running")
)

// run begins to accept clients.
func (s *Server) run(l *listening, connections int) {
	l.server = s
	l.ctx, l.end = context.WithCancel(context.Background())
	if connections > 0 {
		l.places = make(chan struct{}, connections)
	}
	s.on = l
	s.running.Go(l.accept)
}

// Stop ends the server: no client is accepted any more, and all exports end.
func (s *Server) Stop() error {
	l := s.on
	if l == nil {
		return errNotRunning
	}
	s.on = nil
	l.end()
	_ = l.ln.Close() // accept returns
	s.cfg.Exports.StopAll(exportType)
	l.done()
	return nil
}

// Close stops the server, if it runs, and waits for all that it has begun. It must
// not be called on the lane.
func (s *Server) Close() {
	_ = s.cfg.Lane.Do(context.Background(), func() { _ = s.Stop() })
	s.running.Wait()
}

// acceptPause is how long no client is accepted after the system could not.
const acceptPause = 100 * time.Millisecond

// accept takes clients, as long as there is a place for one more.
func (l *listening) accept() {
	for {
		if l.places != nil {
			select {
			case l.places <- struct{}{}:
			case <-l.ctx.Done():
				return
			}
		}
		conn, err := l.ln.Accept()
		if err != nil {
			l.leave()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // too many open files, say
			case <-time.After(acceptPause):
			case <-l.ctx.Done():
				return
			}
			continue
		}
		traceConnect.Emit(conn.RemoteAddr().String())
		l.server.running.Go(func() {
			defer l.leave()
			l.serve(conn)
		})
	}
}

func (l *listening) leave() {
	if l.places != nil {
		<-l.places
	}
}

// serve is a client's whole life.
func (l *listening) serve(conn net.Conn) {
	defer conn.Close()
	cut := context.AfterFunc(l.ctx, func() { sock.Shutdown(conn) })
	defer cut()
	_ = conn.SetDeadline(time.Now().Add(handshakeTime))
	h := &handshake{listening: l, conn: conn, raw: conn}
	err := h.negotiate()
	if h.offer != nil {
		defer h.offer.leave(conn)
	}
	traceNegotiated.Emit(h.name(), h.structured, err)
	if err != nil || h.offer == nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	newClient(h).serve()
}

// all returns the exports, by their names.
func (s *Server) all() []*offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.offers), func(a, b *offer) int { return strings.Compare(a.name, b.name) })
}

// find returns the export of that name, or nil.
func (s *Server) find(name string) *offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[name]
}
