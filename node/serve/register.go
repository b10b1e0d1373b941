package serve

import (
	"reflect"

	logging "github.com/ipfs/go-log/v2"

	"quarry/api"
)

// Namespace of every method on the wire.
const Namespace = "Filecoin"

func (s *Server) register(receiver any, subs ...api.Subsystem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic("serve: interface registered after Run")
	}
	for _, sub := range subs {
		s.served[sub] = true
	}
	t := reflect.TypeOf(receiver)
	for i := range t.NumMethod() {
		if m := t.Method(i); m.Type.NumOut() > 0 && m.Type.Out(0).Kind() == reflect.Chan {
			s.channels[Namespace+"."+m.Name] = true
		}
	}
	s.rpc.Register(Namespace, receiver)
}

// subscribes tells whether a method opens a subscription. Registration is over
// when calls come.
func (s *Server) subscribes(method string) bool { return s.channels[method] }

// muteLibrary takes the RPC library its own log: it writes a line for every call
// that is wrong in some way, and anybody can make such calls. Callers are told
// what is wrong, panics in methods are logged by guard.
func muteLibrary() {
	_ = logging.SetLogLevel("rpc", "fatal") // a level that there is
}

// RegisterChain serves the full-node interface.
func (s *Server) RegisterChain(i api.Chain) { s.register(&api.ChainServer{Impl: i, Guard: s.guard}) }

// RegisterNode serves what a full node says of itself. A process serves this or
// Common, never both.
func (s *Server) RegisterNode(i api.Node) { s.register(&api.NodeServer{Impl: i, Guard: s.guard}) }

// RegisterDevnet serves the methods of the embedded node.
func (s *Server) RegisterDevnet(i api.Devnet) { s.register(&api.DevnetServer{Impl: i, Guard: s.guard}) }

// RegisterCommon serves what every miner process and worker answers.
func (s *Server) RegisterCommon(i api.Common) { s.register(&api.CommonServer{Impl: i, Guard: s.guard}) }

// RegisterNet serves the libp2p host's interface.
func (s *Server) RegisterNet(i api.Net) {
	s.register(&api.NetServer{Impl: i, Guard: s.guard})
	s.hasNet = true
}

// RegisterStorage serves sector storage, role by role.
func (s *Server) RegisterStorage(i api.Storage) {
	s.registerStorage(i, s.guard, api.SubsystemSectorStorage)
}

func (s *Server) registerStorage(i api.Storage, g api.Guard, served ...api.Subsystem) {
	s.register(&api.IndexServer{Impl: i, Guard: g}, served...)
	s.register(&api.LeasesServer{Impl: i, Guard: g})
	s.register(&api.TasksServer{Impl: readable(i), Guard: g})
	s.register(&api.FleetServer{Impl: i, Guard: g})
	s.register(&api.ProverServer{Impl: i, Guard: g})
}

// RegisterSealing serves sealing.
func (s *Server) RegisterSealing(i api.Sealing) {
	s.register(&api.SealingServer{Impl: i, Guard: s.guard}, api.SubsystemSealing)
}

// RegisterMining serves block production and proving.
func (s *Server) RegisterMining(i api.Mining) {
	s.register(&api.MiningServer{Impl: i, Guard: s.guard}, api.SubsystemMining)
}

// RegisterMarkets serves deal making.
func (s *Server) RegisterMarkets(i api.Markets) {
	s.register(&api.MarketsServer{Impl: i, Guard: s.guard}, api.SubsystemMarkets)
}

// fillAbsent gives every subsystem named in Config.Absent and not registered
// receivers that say where to go.
func (s *Server) fillAbsent() {
	for sub, servedBy := range s.cfg.Absent {
		g := s.absentGuard(sub, servedBy)
		if sub == api.SubsystemMarkets && !s.hasNet {
			s.register(&api.NetServer{Guard: g}) // the libp2p host belongs to markets
		}
		if s.served[sub] {
			continue
		}
		switch sub {
		case api.SubsystemMining:
			s.register(&api.MiningServer{Guard: g})
		case api.SubsystemSealing:
			s.register(&api.SealingServer{Guard: g})
		case api.SubsystemSectorStorage:
			s.registerStorage(nil, g)
		case api.SubsystemMarkets:
			s.register(&api.MarketsServer{Guard: g})
		}
	}
}
