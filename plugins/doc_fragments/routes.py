# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module about routes shares."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  routes:
    description: The routes to work on. A route is one place that decides which colour a request reaches.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name of its own, for messages and results.
        type: str
        required: true
      provider:
        description: The kind of route.
        type: str
        required: true
        choices: [alb, gateway_api, haproxy, istio, kubernetes, kubernetes_workers, route53]
      haproxy:
        description:
          - A HAProxy, over its runtime API, on the host that the module runs on.
          - HAProxy must be 2.4 or newer. Its C(stats socket) must have C(level admin) to be written to.
        type: dict
        suboptions:
          socket:
            description: The stats socket, an absolute path or C(host:port).
            type: str
            required: true
          way:
            description:
              - V(map) keeps the whole routing state of an app in one entry of a map, as the role
                P(bluegreen.deploy.haproxy#role) sets it up. One atomic C(set map) is the switch, at any number
                of servers.
              - V(servers) raises and lowers servers by their weights and states, for a configuration that
                somebody else wrote.
            type: str
            choices: [map, servers]
            default: map
          map:
            description: For O(routes[].haproxy.way=map), the map's name in the configuration, which is its path.
            type: str
          key:
            description: For O(routes[].haproxy.way=map), the app's key in the map.
            type: str
          map_file:
            description: The map file on disk, if it is not the path in O(routes[].haproxy.map).
            type: path
          persist:
            description:
              - Whether to write the map file too, before the running HAProxy, so that a reload or restart keeps
                the traffic where it is.
              - V(false) is for a HAProxy whose files this host does not have.
            type: bool
            default: true
          backends:
            description:
              - The backend of each colour.
              - For O(routes[].haproxy.way=map) the default is the key, C(_) and the colour.
              - For O(routes[].haproxy.way=servers), when the configuration takes the backend that has
                servers. It then holds 0 % or 100 % only.
            type: dict
          backend:
            description: For O(routes[].haproxy.way=servers), the one backend with the servers of both colours.
            type: str
          servers:
            description:
              - With O(routes[].haproxy.backend), a regular expression for each colour that matches the whole
                names of its servers.
            type: dict
          lower_with:
            description:
              - How O(routes[].haproxy.way=servers) takes a colour out. A drained server still gets clients that
                stick to it; one in maintenance gets nobody, and no health checks.
              - With V(drain), a server in maintenance was put there by somebody else, such as for a repair, and is left
                there. With V(maint), it was if others of its colour are not in maintenance.
            type: str
            choices: [drain, maint]
            default: drain
          ignore_weight:
            description:
              - Whether the servers that come from SRV records have C(resolve-opts ignore-weight) in HAProxy's
                configuration, which HAProxy does not tell. Without it their weights are those of DNS, and are taken
                anew at each resolution, so that a share of the traffic would not last, and is refused.
            type: bool
            default: false
          timeout:
            description: Seconds to wait for an answer.
            type: float
            default: 5.0
      kubernetes:
        description:
          - The selector of a Kubernetes Service, which has all traffic on one colour. One patch is the switch.
          - What is not set here is taken from the environment variables that C(kubernetes.core) reads too, and from
            the kubeconfig, or in a pod from its service account.
          - Needs the Python library C(kubernetes) where the module runs.
        type: dict
        suboptions:
          service:
            description: The Service, which must have a cluster IP and a selector.
            type: str
            required: true
          preview_service:
            description: A second Service for test traffic, which is to select the idle colour at any time.
            type: str
          namespace:
            description: Where they are. By default, the namespace of the context, else C(default).
            type: str
          selector_key:
            description: The label of the selector that tells the colours apart.
            type: str
            default: version
          selector_values:
            description: The value of that label for each colour. By default, the name of the colour.
            type: dict
          selectors:
            description:
              - The labels of the selector for each colour, where it takes more than one to tell them apart. The same
                labels for both, with values of their own.
              - Instead of O(routes[].kubernetes.selector_key) and O(routes[].kubernetes.selector_values).
            type: dict
          overlap:
            description:
              - Seconds for which both colours are selected before the new one alone is. For load balancers that send to
                the addresses of pods, as with a network endpoint group or targets of type C(ip), and take up new ones
                only once they are selected.
              - The rest of the selector must select the pods of both colours and no others.
              - The way back is one patch, without an overlap.
            type: float
            default: 0.0
          kubeconfig:
            description: The path of a kubeconfig. E(K8S_AUTH_KUBECONFIG).
            type: path
          context:
            description: The context in it. E(K8S_AUTH_CONTEXT).
            type: str
          host:
            description: The URL of the API server. E(K8S_AUTH_HOST).
            type: str
          api_key:
            description: A bearer token. E(K8S_AUTH_API_KEY).
            type: str
          ca_cert:
            description: The file of the authority that signed the server's certificate. E(K8S_AUTH_SSL_CA_CERT).
            type: path
          client_cert:
            description: The file of a client certificate. E(K8S_AUTH_CERT_FILE).
            type: path
          client_key:
            description: The file of its key. E(K8S_AUTH_KEY_FILE).
            type: path
          validate_certs:
            description: Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
            type: bool
          proxy:
            description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
            type: str
          timeout:
            description: Seconds for one question to the server, with its repetitions.
            type: float
            default: 10.0
      alb:
        description:
          - The weights of two target groups in the action of a listener or of one rule, of an application or network
            load balancer. All else of the action stays as it is.
          - Needs the Python library C(botocore), which comes with C(boto3).
        type: dict
        suboptions:
          target_groups:
            description: The target group of each colour, by name or ARN.
            type: dict
            required: true
          listener_arn:
            description: The listener, of which the default action is the route, unless a rule is named.
            type: str
          rule_arn:
            description: The rule whose action is the route.
            type: str
          load_balancer:
            description: The load balancer by name or ARN, where no other ARN is given. Needs O(routes[].alb.port).
            type: str
          port:
            description: The port of its listener.
            type: int
          rule_priority:
            description: The priority of the rule.
            type: int
          rule_tags:
            description: The tags of the rule. Exactly one rule of the listener must have all of them.
            type: dict
          test_listener_arn:
            description:
              - A listener for tests, whose default action leads to the idle colour. It follows, in a change of its own,
                once all of the traffic has moved.
            type: str
          test_port:
            description: The port of that listener, where it is given by O(routes[].alb.load_balancer).
            type: int
          healthy_per_zone:
            description:
              - How many healthy targets a colour needs in each zone that the load balancer is enabled in, before it
                gets more traffic; no more than the other colour has there. With V(0) the zones do not matter.
              - By default 1 where cross-zone load balancing is off for the colour's target group, and 0 where it is on.
            type: int
          region:
            description: The region. E(AWS_REGION), E(AWS_DEFAULT_REGION), or that of the profile.
            type: str
          profile:
            description: The profile of the configuration files of AWS. E(AWS_PROFILE).
            type: str
          access_key:
            description: The access key. E(AWS_ACCESS_KEY_ID), or a role, as the AWS libraries find it.
            type: str
          secret_key:
            description: Its secret. E(AWS_SECRET_ACCESS_KEY).
            type: str
          session_token:
            description: The token of a temporary key. E(AWS_SESSION_TOKEN).
            type: str
          endpoint_url:
            description: Another endpoint than AWS's. E(AWS_ENDPOINT_URL).
            type: str
          validate_certs:
            description: Whether the endpoint's certificate must be valid.
            type: bool
            default: true
          aws_ca_bundle:
            description: The file of authorities to trust. E(AWS_CA_BUNDLE).
            type: path
          timeout:
            description: Seconds for one attempt of a call. There are up to six, with a growing wait in between.
            type: float
            default: 10.0
      gateway_api:
        description:
          - The weights of two backends in one rule of an HTTPRoute of the Gateway API. Other rules stay as they are.
          - The cluster is found as for O(routes[].kubernetes).
        type: dict
        suboptions:
          kind:
            description: What kind of route it is.
            type: str
            choices: [HTTPRoute, GRPCRoute]
            default: HTTPRoute
          http_route:
            description: The name of the route.
            type: str
            required: true
          backends:
            description:
              - The Service of each colour. One in another namespace is named with it, as in C(shop/shop-blue).
            type: dict
            required: true
          rule:
            description:
              - The number of the rule, from 0. By default, each one that has both backends; they are changed together.
            type: int
          test_rule:
            description:
              - The number of the rule that test traffic takes, such as one with a header match. It has both backends,
                and all of it goes to the idle colour, changed in the same patch.
            type: int
          api_version:
            description: The version of the API C(gateway.networking.k8s.io) to speak.
            type: str
            default: v1
          namespace:
            description: Where it is. By default, the namespace of the context, else C(default).
            type: str
          kubeconfig:
            description: The path of a kubeconfig. E(K8S_AUTH_KUBECONFIG).
            type: path
          context:
            description: The context in it. E(K8S_AUTH_CONTEXT).
            type: str
          host:
            description: The URL of the API server. E(K8S_AUTH_HOST).
            type: str
          api_key:
            description: A bearer token. E(K8S_AUTH_API_KEY).
            type: str
          ca_cert:
            description: The file of the authority that signed the server's certificate. E(K8S_AUTH_SSL_CA_CERT).
            type: path
          client_cert:
            description: The file of a client certificate. E(K8S_AUTH_CERT_FILE).
            type: path
          client_key:
            description: The file of its key. E(K8S_AUTH_KEY_FILE).
            type: path
          validate_certs:
            description: Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
            type: bool
          proxy:
            description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
            type: str
          timeout:
            description: Seconds for one question to the server, with its repetitions.
            type: float
            default: 10.0
      istio:
        description:
          - The weights of two destinations in one HTTP route of an Istio VirtualService. Others stay as they are.
          - The cluster is found as for O(routes[].kubernetes).
        type: dict
        suboptions:
          virtual_service:
            description: The VirtualService.
            type: str
            required: true
          http_route:
            description: The name of the HTTP route. By default, each one that has both destinations.
            type: str
          test_http_route:
            description:
              - The name of the HTTP route that test traffic takes, such as one with a header match. It has both
                destinations, and all of it goes to the idle colour, changed in the same patch.
            type: str
          subsets:
            description: The subset of each colour. By default, the name of the colour.
            type: dict
          hosts:
            description: The host of each colour, where the colours are no subsets of one host.
            type: dict
          api_version:
            description: The version of the API C(networking.istio.io) to speak.
            type: str
            default: v1beta1
          namespace:
            description: Where it is. By default, the namespace of the context, else C(default).
            type: str
          kubeconfig:
            description: The path of a kubeconfig. E(K8S_AUTH_KUBECONFIG).
            type: path
          context:
            description: The context in it. E(K8S_AUTH_CONTEXT).
            type: str
          host:
            description: The URL of the API server. E(K8S_AUTH_HOST).
            type: str
          api_key:
            description: A bearer token. E(K8S_AUTH_API_KEY).
            type: str
          ca_cert:
            description: The file of the authority that signed the server's certificate. E(K8S_AUTH_SSL_CA_CERT).
            type: path
          client_cert:
            description: The file of a client certificate. E(K8S_AUTH_CERT_FILE).
            type: path
          client_key:
            description: The file of its key. E(K8S_AUTH_KEY_FILE).
            type: path
          validate_certs:
            description: Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
            type: bool
          proxy:
            description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
            type: str
          timeout:
            description: Seconds for one question to the server, with its repetitions.
            type: float
            default: 10.0
      kubernetes_workers:
        description:
          - Two Deployments that no Service leads to, such as workers that read a queue. The colour with pods works.
          - The new colour's pods are started and waited for, then the old colour's are stopped.
          - The cluster is found as for O(routes[].kubernetes).
        type: dict
        suboptions:
          deployments:
            description: The Deployment of each colour.
            type: dict
            required: true
          replicas:
            description: How many pods the working colour has. By default, as many as the one that works now.
            type: int
          wait_timeout:
            description: Seconds for its pods to become ready. After that they are stopped again.
            type: float
            default: 120.0
          namespace:
            description: Where they are. By default, the namespace of the context, else C(default).
            type: str
          kubeconfig:
            description: The path of a kubeconfig. E(K8S_AUTH_KUBECONFIG).
            type: path
          context:
            description: The context in it. E(K8S_AUTH_CONTEXT).
            type: str
          host:
            description: The URL of the API server. E(K8S_AUTH_HOST).
            type: str
          api_key:
            description: A bearer token. E(K8S_AUTH_API_KEY).
            type: str
          ca_cert:
            description: The file of the authority that signed the server's certificate. E(K8S_AUTH_SSL_CA_CERT).
            type: path
          client_cert:
            description: The file of a client certificate. E(K8S_AUTH_CERT_FILE).
            type: path
          client_key:
            description: The file of its key. E(K8S_AUTH_KEY_FILE).
            type: path
          validate_certs:
            description: Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
            type: bool
          proxy:
            description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
            type: str
          timeout:
            description: Seconds for one question to the server, with its repetitions.
            type: float
            default: 10.0
      route53:
        description:
          - The weights of two record sets with the same name and type in Amazon Route 53, aliases or not. Values, TTLs,
            health checks and other record sets stay as they are.
          - One atomic change, which is refused if they are not exactly as they were read. At least one has a weight
            at any time, as Route 53 takes weights that are all 0 for equal shares.
          - DNS is slow. RV(bluegreen.deploy.traffic#module:routes[].old_until) is when the last answer from before has
            run out. Lower the TTL beforehand with the module M(bluegreen.deploy.dns_ttl).
          - Holds multiples of 0.5 %.
          - Where the record sets have health checks, Route 53 gives a colour with weight 0 to clients, too, when the
            other one is unhealthy.
          - Needs the Python library C(botocore), which comes with C(boto3).
        type: dict
        suboptions:
          record:
            description: The DNS name, in full or within the zone, or V(@) for the zone itself.
            type: str
            required: true
          type:
            description: The type of both record sets.
            type: str
            choices: [A, AAAA, CAA, CNAME, HTTPS, MX, NAPTR, PTR, SPF, SRV, SSHFP, SVCB, TLSA, TXT]
            default: A
          zone_id:
            description: The hosted zone by its id. One of this and O(routes[].route53.zone).
            type: str
          zone:
            description: The hosted zone by its name.
            type: str
          private_zone:
            description: With O(routes[].route53.zone), whether it is a private one. By default, the one that there is.
            type: bool
          set_identifiers:
            description: The set identifier of each colour's record set. By default, the name of the colour.
            type: dict
          wait:
            description:
              - Whether to wait until all servers of Route 53 have a change, which takes up to a minute as a rule.
            type: bool
            default: true
          wait_timeout:
            description: Seconds for that. After them the change counts as failed.
            type: float
            default: 120.0
          resolvers:
            description:
              - DNS servers of yours, by IP address and if need be with a port, such as V(192.0.2.53:5353). Before a
                colour is retired each is asked until it has no answer any more that leads to it.
              - A resolver that many caches stand behind, such as a public one, can answer from another one next time.
              - Needs the Python library C(dnspython).
            type: list
            elements: str
            default: []
          region:
            description: The region. E(AWS_REGION), E(AWS_DEFAULT_REGION), or that of the profile.
            type: str
          profile:
            description: The profile of the configuration files of AWS. E(AWS_PROFILE).
            type: str
          access_key:
            description: The access key. E(AWS_ACCESS_KEY_ID), or a role, as the AWS libraries find it.
            type: str
          secret_key:
            description: Its secret. E(AWS_SECRET_ACCESS_KEY).
            type: str
          session_token:
            description: The token of a temporary key. E(AWS_SESSION_TOKEN).
            type: str
          endpoint_url:
            description: Another endpoint than AWS's. E(AWS_ENDPOINT_URL).
            type: str
          validate_certs:
            description: Whether the endpoint's certificate must be valid.
            type: bool
            default: true
          aws_ca_bundle:
            description: The file of authorities to trust. E(AWS_CA_BUNDLE).
            type: path
          timeout:
            description: Seconds for one attempt of a call. There are up to six, with a growing wait in between.
            type: float
            default: 10.0
  colours:
    description: The names of the two colours.
    type: list
    elements: str
    default: [blue, green]
"""
