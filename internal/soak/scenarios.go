package main

import (
	"time"

	"quarry/internal/testnet"
)

// slowEpoch is the shortest epoch while somebody is harmed: a deadline of 60
// epochs then lasts a minute, and an operator's lasts half an hour.
const slowEpoch = time.Second

// quickDeals let a deal be published and sealed without waiting for others.
var (
	quickPublish = []string{"MINER_DEALMAKING_PUBLISHMSGPERIOD=10 epochs"}
	quickSeal    = []string{"MINER_SEALING_WAITDEALSDELAY=5 epochs", "MINER_SEALING_MAXWAITDEALSSECTORS=0"}
)

// network is what the scenarios start from.
func network(size string, minerEnv ...string) testnet.Config {
	return testnet.Config{
		SectorSize: size,
		Pace:       slowEpoch,
		MarketsEnv: quickPublish,
		MinerEnv:   append(append([]string{}, quickSeal...), minerEnv...),
	}
}

// outages are how long somebody is away.
func outages(o options) (brief, long time.Duration) {
	if o.short {
		return 5 * time.Second, 40 * time.Second
	}
	return 30 * time.Second, 10 * time.Minute
}

// scenarios are all there are, in the order in which they are run.
func scenarios(o options) []scenario {
	out := []scenario{
		{"latency", "200 ms each way between any two processes", slow(), 15 * time.Minute, latency},
		{"hanging-mount", "a storage path whose reads never come back", bare(network("2KiB")), 30 * time.Minute, hangingMount},
		{"unmounted-disk", "a storage path is unmounted while a sector is sealed on it, and before a start", network("8MiB"), 30 * time.Minute, unmountedDisk},
		{"big-result", "a worker delivers a result of 12 MB", network("2KiB", "MINER_STORAGE_LOCALWORKER=false"), 10 * time.Minute, bigResult},
		{"many-files", "25,000 sector files on one path", network("2KiB"), 10 * time.Minute, manyFiles},
		{"wrong-peers", "a markets node with the API info of somebody else", network("2KiB"), 20 * time.Minute, wrongPeers},
		{"second-process", "repos and identities started twice", withPath(network("2KiB")), 15 * time.Minute, secondProcess},
		{"kill9", "everybody is killed at random moments, again and again", killed(o), 30*time.Minute + 3*killTime(o), kill9},
	}
	brief, long := outages(o)
	for _, away := range []time.Duration{brief, long} {
		name := "outage-30s-"
		if away == long {
			name = "outage-10m-"
		}
		for _, who := range []string{"miner", "worker", "markets", "fullnode"} {
			out = append(out, scenario{name + who, "the " + who + " hangs, is killed, and is cut off, for " + away.String() + " each",
				farWorker(), 45*time.Minute + 9*away, outageOf(who, away)})
		}
	}
	return out
}

func slow() testnet.Config {
	c := network("2KiB")
	c.Linked, c.Delay, c.WorkerPath = true, 200*time.Millisecond, true
	return c
}

// farWorker computes apart from the private node, which has long computing to
// lose.
func farWorker() testnet.Config {
	c := network("8MiB", "MINER_STORAGE_ALLOWPRECOMMIT1=false", "MINER_STORAGE_ALLOWPRECOMMIT2=false")
	c.Linked, c.WorkerPath = true, true
	return c
}

func killed(o options) testnet.Config {
	size := "8MiB"
	if o.short {
		size = "2KiB"
	}
	c := network(size)
	c.WorkerPath = true
	return c
}

// withPath lets the worker make files.
func withPath(c testnet.Config) testnet.Config {
	c.WorkerPath = true
	return c
}

// bare gives the private node no path of its own.
func bare(c testnet.Config) testnet.Config {
	c.Bare = true
	return c
}
