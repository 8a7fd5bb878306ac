package agent

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"syscall"
	"time"

	"ztlab.rig/istio/internal/authority"
	"ztlab.rig/istio/internal/proxyconfig"
	"ztlab.rig/istio/internal/wire"
)

const (
	// askAgain is the pause after a failed request to istiod.
	askAgain = time.Second
	// acceptWithin is how long Envoy gets to take up a configuration before the agent reports without it.
	acceptWithin = 3 * time.Second
	// drainFor is how long running requests get when the pod ends. The real one waits 5 s.
	drainFor = 2 * time.Second
	// renewAfter leaves half of a certificate's life for trying again.
	renewAfter = authority.WorkloadLifetime / 2
)

// Agent is one proxy.
type Agent struct {
	settings Settings
	admin    *admin
	client   *client
	has      string
}

// Run fetches what Envoy needs, runs it, and keeps it up to date. It returns when Envoy ends or the context does.
func Run(ctx context.Context, settings Settings) error {
	agent := &Agent{settings: settings, admin: newAdmin(), client: &client{address: settings.Discovery}}
	counter := newRequestCounter(settings.Namespace, settings.Workload)
	status, err := newStatus(settings, agent.admin, counter)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- status.listen() }()

	if err := persist(ctx, "the certificate", func() error { return agent.renewCertificate(ctx) }); err != nil {
		return stopped(err)
	}
	if err := persist(ctx, "the configuration", func() error { return agent.updateConfiguration(ctx) }); err != nil {
		return stopped(err)
	}
	if err := writeBootstrap(settings); err != nil {
		return err
	}
	process, err := startEnvoy(settings, counter)
	if err != nil {
		return err
	}
	go func() { failed <- fmt.Errorf("envoy ended: %v", process.Wait()) }()
	go agent.follow(ctx)
	go agent.renew(ctx)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return agent.end(process)
	}
}

// persist tries until it succeeds: without istiod the pod stays alive and not ready, as with the real one.
func persist(ctx context.Context, what string, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Printf("asking istiod for %s: %v", what, err)
		if err := pause(ctx, askAgain); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}

// stopped makes success of a pod that ends before its proxy had begun.
func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (agent *Agent) renewCertificate(ctx context.Context) error {
	request, key, err := newRequest()
	if err != nil {
		return err
	}
	reply, err := agent.client.certificate(ctx, request)
	if err != nil {
		return err
	}
	return writeCertificate(reply, key)
}

func (agent *Agent) renew(ctx context.Context) {
	for pause(ctx, renewAfter) == nil {
		if err := persist(ctx, "a new certificate", func() error { return agent.renewCertificate(ctx) }); err != nil {
			return
		}
		log.Print("renewed the certificate")
	}
}

// updateConfiguration asks once and writes what it gets; no news is a success when there was something before.
func (agent *Agent) updateConfiguration(ctx context.Context) error {
	reply, err := agent.client.configuration(ctx, wire.ConfigurationRequest{
		Kind: agent.settings.Kind, Has: agent.has, Acked: agent.admin.acked(ctx),
	})
	if errors.Is(err, errNothingNew) && agent.has != "" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := writeConfiguration(reply.Configuration); err != nil {
		return err
	}
	agent.has = reply.Configuration.Version()
	return nil
}

func (agent *Agent) follow(ctx context.Context) {
	for ctx.Err() == nil {
		agent.awaitAcceptance(ctx)
		if err := persist(ctx, "the configuration", func() error { return agent.updateConfiguration(ctx) }); err != nil {
			return
		}
	}
}

// awaitAcceptance lets Envoy take up what was written, so that the next question to istiod reports it.
func (agent *Agent) awaitAcceptance(ctx context.Context) {
	deadline := time.Now().Add(acceptWithin)
	for time.Now().Before(deadline) {
		acked := agent.admin.acked(ctx)
		if (proxyconfig.Configuration{ClustersVersion: acked.Clusters, ListenersVersion: acked.Listeners}).Version() == agent.has {
			return
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return
		}
	}
	log.Printf("envoy did not take up configuration %s", agent.has)
}

// startEnvoy gives Envoy the writing end of the pipe by which it reports requests.
func startEnvoy(settings Settings, counter *requestCounter) (*exec.Cmd, error) {
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go counter.read(reading)
	command := exec.Command(envoyProgram, "-c", bootstrapFile, "--concurrency", workers,
		"--disable-hot-restart", "--log-level", settings.LogLevel, "--file-flush-interval-msec", flushInterval,
		"--drain-time-s", drainTime, "--drain-strategy", drainStrategy)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{writing}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return command, writing.Close()
}

// end lets running requests finish. The context that ended the agent is over, so this has its own time.
func (agent *Agent) end(process *exec.Cmd) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	if err := agent.admin.drain(ctx); err != nil {
		log.Printf("draining: %v", err)
	}
	<-ctx.Done()
	return process.Process.Signal(syscall.SIGTERM)
}
