package main

import (
	"fmt"
	"time"

	"quarry/internal/testnet"
)

// slowEpoch is the shortest epoch while somebody is harmed: a deadline of 60
// epochs then lasts a minute, and an operator's lasts half an hour.
const slowEpoch = time.Second

// What lets deals be published and sealed without waiting for others.
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

// usualLimit is for scenarios in which nobody waits for the clock: many times what
// they take on a quiet machine.
const usualLimit = 30 * time.Minute

// scenarios are all there are, in the order in which they are run.
func scenarios(o options) (out []scenario) {
	for _, p := range []plan{
		{"latency", "200 ms each way between any two processes", slow(), latency},
		{"hanging-mount", "a storage path whose reads never come back", bare(network("2KiB")), hangingMount},
		{"unmounted-disk", "a storage path is unmounted while a sector is sealed on it, and before a start", network("8MiB"),
			unmountedDisk},
		{"big-result", "a worker delivers a result of 12 MB", network("2KiB", "MINER_STORAGE_LOCALWORKER=false"), bigResult},
		{"many-files", "25,000 sector files on one path", network("2KiB"), manyFiles},
		{"wrong-peers", "a markets node with the API info of somebody else", network("2KiB"), wrongPeers},
		{"second-process", "repos and identities started twice", withPath(network("2KiB")), secondProcess},
	} {
		out = append(out, scenario{p, usualLimit})
	}
	out = append(out, scenario{plan{"kill9", "everybody is killed at random moments, again and again", killed(o), kill9},
		usualLimit + 3*killTime(o)})
	brief, long := outages(o)
	for _, who := range []string{"miner", "worker", "markets", "fullnode"} {
		out = append(out, outageScenario("outage-30s-"+who, who, brief))
	}
	for _, who := range []string{"miner", "worker", "markets", "fullnode"} {
		out = append(out, outageScenario("outage-10m-"+who, who, long))
	}
	return out
}

func outageScenario(name, who string, away time.Duration) scenario {
	about := fmt.Sprintf("the %s hangs, is killed, and is cut off, for %s each", who, away)
	return scenario{plan{name, about, farWorker(), outageOf(who, away)}, usualLimit + 9*away}
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
	if o.short {
		return withPath(network("2KiB"))
	}
	return withPath(network("8MiB"))
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
