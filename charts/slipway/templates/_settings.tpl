{{/* Settings that all services have. */}}
{{- define "slipway.settings.common" -}}
common:
  data_dir: /var/lib/slipway
  admin: { listen: "0.0.0.0:9464" }
  telemetry:
    log: json
    filter: {{ .root.Values.telemetry.filter | quote }}
    {{- with .root.Values.telemetry.otlpEndpoint }}
    otlp_endpoint: {{ . | quote }}
    {{- end }}
    {{- if not (kindIs "invalid" .root.Values.telemetry.sampleRatio) }}
    sample_ratio: {{ .root.Values.telemetry.sampleRatio }}
    {{- end }}
bus:
  url: {{ include "slipway.brokerUrl" .root | quote }}
  nkey_seed_file: /etc/slipway/key/{{ .component }}.nk
  {{- if include "slipway.brokerCa" .root }}
  ca_file: /etc/slipway/broker/ca.crt
  {{- end }}
  # Everything starts at once; who is early waits where he is.
  connect_timeout: 0s
{{- end -}}

{{/* Settings that one service has besides. */}}
{{- define "slipway.settings.provisioner" -}}
local: { enabled: false }
kubernetes:
  enabled: true
  namespace: {{ include "slipway.workersNamespace" .root }}
  controller: "system:serviceaccount:{{ .root.Release.Namespace }}:{{ include "slipway.fullname" .root }}-controller"
  engines: {{ toJson .root.Values.workers.engines }}
{{- end -}}

{{- define "slipway.settings.platform-selector" -}}
{{- /* The disk of a pod is nobody's to name in a document; files come by `slipway deploy`. */ -}}
fetch: { artifact_roots: [/var/lib/slipway-artifacts] }
{{- end -}}

{{- define "slipway.settings.controller" -}}
{{- $values := .root.Values -}}
local: { enabled: false }
kubernetes:
  enabled: true
  namespace: {{ include "slipway.workersNamespace" .root }}
  services_namespace: {{ .root.Release.Namespace }}
  installation: {{ .root.Release.Name }}
  image: {{ include "slipway.image" (dict "root" .root "image" $values.workers.image) | quote }}
  image_pull_policy: {{ $values.workers.image.pullPolicy }}
  image_pull_secrets: {{ toJson $values.imagePullSecrets }}
  service_account: {{ include "slipway.fullname" .root }}-worker
  key_secret: {{ include "slipway.fullname" .root }}-key-inference-worker
  {{- with include "slipway.brokerCa" .root }}
  ca_configmap: {{ . }}
  {{- end }}
  {{- with $values.workers.prometheusUrl }}
  prometheus: {{ . | quote }}
  {{- end }}
  {{- if and $values.keda.enabled $values.nats.enabled }}
  broker_monitor: {{ include "slipway.fullname" .root }}-nats-headless.{{ .root.Release.Namespace }}.svc:8222
  {{- end }}
  on_drift: {{ $values.workers.onDrift }}
  custom_resources: {{ include "slipway.resourceNamespaces" .root }}
  drain: {{ $values.workers.drain }}
  start_within: {{ $values.workers.startWithin }}
  pod_annotations:
    {{- if include "slipway.isAnnotated" .root }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "9091"
    prometheus.io/path: /metrics
    {{- end }}
    {{- range $key, $value := $values.workers.annotations }}
    {{ $key | quote }}: {{ $value | quote }}
    {{- end }}
{{- end -}}

{{- define "slipway.settings.ingress" -}}
http:
  listen: "0.0.0.0:8080"
  # What sends requests here hears of the end a moment later than the pod does.
  notice: 5s
  advertise: {{ include "slipway.door" .root | quote }}
{{- if include "slipway.isRouted" .root }}
{{- $routes := .root.Values.routes }}
kubernetes:
  enabled: true
  namespace: {{ .root.Release.Namespace }}
  installation: {{ .root.Release.Name }}
  service: {{ include "slipway.fullname" .root }}-ingress
  port: {{ int .root.Values.services.ingress.service.port }}
  {{- with $routes.hostname }}
  hostname: {{ . | quote }}
  {{- end }}
  {{- with $routes.grpcHostname }}
  grpc_hostname: {{ . | quote }}
  {{- end }}
  gateway: {{ $routes.gateway.name | quote }}
  {{- with $routes.gateway.namespace }}
  gateway_namespace: {{ . }}
  {{- end }}
  {{- with $routes.gateway.listener }}
  gateway_listener: {{ . }}
  {{- end }}
  ingress_class: {{ $routes.ingressClassName | quote }}
  {{- with $routes.tlsSecretName }}
  tls_secret: {{ . }}
  {{- end }}
  annotations: {{ toJson $routes.annotations }}
  grpc_annotations: {{ toJson $routes.grpcAnnotations }}
{{- end }}
{{- end -}}

{{- define "slipway.settings.sink-writer" -}}
{{- if .root.Values.postgresql.secretName }}
database: { url: "env:DATABASE_URL" }
{{- end }}
{{- $volume := (index .root.Values.services "sink-writer").persistence.enabled }}
embedded: { lasting: {{ $volume }} }
{{- end -}}

{{- define "slipway.settings.observability" -}}
ingress_metrics: ["{{ include "slipway.fullname" .root }}-ingress-admin.{{ .root.Release.Namespace }}.svc:9464"]
{{- if include "slipway.isShown" .root }}
{{- $monitoring := .root.Values.monitoring }}
kubernetes:
  enabled: true
  namespace: {{ include "slipway.workersNamespace" .root }}
  installation: {{ .root.Release.Name }}
  rules: {{ ne $monitoring.rules "never" }}
  rule_labels: {{ toJson $monitoring.labels }}
  dashboards: {{ eq (include "slipway.hasDashboards" .root) "yes" }}
  dashboard_labels: {{ toJson $monitoring.dashboardLabels }}
{{- end }}
{{- end -}}

{{- define "slipway.settings.security" -}}
authority:
  folder: /etc/slipway/authority
  mounted: true
  lifetime: {{ .root.Values.authority.lifetime }}
  settle: {{ .root.Values.authority.settle }}
identities: { lifetime: {{ .root.Values.authority.identityLifetime }} }
# Nobody reaches the folder of a pod: `slipway api-key NAME` has keys told.
api_keys: { in_files: false }
proof: { ingress_url: {{ include "slipway.door" .root | quote }} }
{{- end -}}

{{- define "slipway.settings.validator" -}}
ingress:
  address: {{ include "slipway.door" .root | quote }}
  admin: "http://{{ include "slipway.fullname" .root }}-ingress-admin.{{ .root.Release.Namespace }}.svc:9464"
{{- end -}}

{{/* The door of the models from inside the cluster. */}}
{{- define "slipway.door" -}}
{{- $ingress := .Values.services.ingress -}}
{{- printf "http://%s-ingress.%s.svc:%d" (include "slipway.fullname" .) .Release.Namespace (int $ingress.service.port) -}}
{{- end -}}

{{/* All of them as TOML. */}}
{{- define "slipway.settings" -}}
{{- $common := include "slipway.settings.common" . | fromYaml -}}
{{- $own := include (printf "slipway.settings.%s" .component) . | fromYaml -}}
{{- include "slipway.toml" (dict "prefix" "" "map" (mergeOverwrite $common $own)) -}}
{{- end -}}
