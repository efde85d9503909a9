package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"
)

const helpClusterCerts = `Makes the certificates of a cluster in FOLDER, for --cert, --key and --ca of agents and
fronts. An authority is made if there is none yet:

  ca.pem, ca.key        the authority; keep ca.key away from the hosts
  NAME.pem, NAME.key    each agent and front

A certificate that is there already is replaced. The one of an agent is for
NAME.agent.dirty, the one of a front for NAME.front.dirty, so that a front cannot pose as
an agent. If you have an authority of your own, use that; docs/CLUSTER.md shows how.`

func (c *cli) clusterCertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "certs FOLDER",
		Short:   "Make certificates for agents and fronts",
		Long:    helpClusterCerts,
		Example: "  dirty cluster certs ./certs --agent gpu1 --agent gpu2 --front web1",
		Args:    needArgs(1, 1, "the folder for the certificates"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	agents := cmd.Flags().StringArray("agent", nil, "`NAME` of a host with an agent; once for each")
	fronts := cmd.Flags().StringArray("front", nil, "`NAME` of a host with a front; once for each")
	days := cmd.Flags().Int("days", 365, "how many days the certificates of agents and fronts are valid")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if *days < 1 || *days > authorityDays {
			return usagef("cluster certs: --days %d: want 1 to %d", *days, authorityDays)
		}
		var roles []role
		for _, name := range *agents {
			roles = append(roles, role{name, "agent", x509.ExtKeyUsageServerAuth})
		}
		for _, name := range *fronts {
			roles = append(roles, role{name, "front", x509.ExtKeyUsageClientAuth})
		}
		return c.makeCerts(args[0], roles, *days)
	}
	return cmd
}

// role is what a certificate is for.
type role struct {
	name, kind string
	usage      x509.ExtKeyUsage
}

// hostName is what the name of an agent or a front may be, since files have it too.
var hostName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (c *cli) makeCerts(folder string, roles []role, days int) error {
	names := map[string]bool{"ca": true}
	for _, r := range roles {
		switch {
		case !hostName.MatchString(r.name):
			return usagef("cluster certs: --%s %q: want a name of small letters, digits and hyphens", r.kind, r.name)
		case names[r.name]:
			return usagef("cluster certs: the name %s is there twice, or that of the authority", r.name)
		}
		names[r.name] = true
	}
	a, err := openAuthority(folder)
	if err != nil {
		return err
	}
	for _, r := range roles {
		if err := a.issue(r, days); err != nil {
			return err
		}
		path := filepath.Join(folder, r.name)
		if c.format == formatJSON {
			err = c.printJSONLine(struct {
				Name string `dirty:"name"`
				Role string `dirty:"role"`
				Cert string `dirty:"cert"`
				Key  string `dirty:"key"`
				CA   string `dirty:"ca"`
			}{r.name, r.kind, path + ".pem", path + ".key", filepath.Join(folder, "ca.pem")})
		} else {
			_, err = fmt.Fprintf(c.stdout, "%s %s: --cert %s.pem --key %s.key --ca %s\n", r.kind, r.name, path, path, filepath.Join(folder, "ca.pem"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// authority signs the certificates of a cluster.
type authority struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// authorityDays is how long an authority is valid.
const authorityDays = 3650

// openAuthority opens the authority of a folder, or makes one. It makes none where a part
// of one is: hosts may trust that one already.
func openAuthority(folder string) (*authority, error) {
	a := &authority{folder: folder}
	err := a.read()
	if !errors.Is(err, os.ErrNotExist) {
		return a, err
	}
	for _, name := range authorityFiles {
		if _, statErr := os.Lstat(filepath.Join(folder, name)); statErr == nil {
			return nil, fmt.Errorf("%s is there, but not the whole authority: %w", filepath.Join(folder, name), err)
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := newCertificate(authorityDays)
	template.Subject = pkix.Name{CommonName: "dirty cluster"}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a.cert = template
	if err := a.sign("ca", template, a.key); err != nil {
		return nil, err
	}
	return a, a.read()
}

// authorityFiles are the certificate of the authority and its key.
var authorityFiles = [2]string{"ca.pem", "ca.key"}

// read reads the files of the authority.
func (a *authority) read() error {
	var blocks [len(authorityFiles)][]byte
	for i, name := range authorityFiles {
		path := filepath.Join(a.folder, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return fmt.Errorf("%s is not in PEM", path)
		}
		blocks[i] = block.Bytes
	}
	var err error
	if a.cert, err = x509.ParseCertificate(blocks[0]); err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[1])
	if err != nil {
		return err
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok {
		return fmt.Errorf("%s: want a key of elliptic curves", filepath.Join(a.folder, "ca.key"))
	}
	return nil
}

// issue makes the certificate of a role.
func (a *authority) issue(r role, days int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := newCertificate(days)
	template.Subject = pkix.Name{CommonName: r.name}
	template.DNSNames = []string{r.name + "." + r.kind + ".dirty"}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{r.usage}
	return a.sign(r.name, template, key)
}

// newCertificate returns what all certificates have.
func newCertificate(days int) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // cannot fail
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, days)}
}

// sign signs a certificate, and writes it and its key.
func (a *authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	path := filepath.Join(a.folder, name)
	if err := replaceFile(path+".key", "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return replaceFile(path+".pem", "CERTIFICATE", der, 0o644)
}

// replaceFile writes a file at once, so that nobody reads half of it.
func replaceFile(path, kind string, der []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // if it is still there
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
