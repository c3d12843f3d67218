{{/* What the portal's programs are called and where they listen: this file alone knows. */}}

{{/* Below the volume, not the volume itself: a restore puts one folder in another one's place. */}}
{{- define "dure.data" -}}/data/dure{{- end }}

{{- define "dure.ports" -}}
envoy: 8000
inside: 8001
hub: 8081
portal: 8082
mlflow: 8083
voila: 8084
xds: 8085
statistics: 9901
{{- end }}

{{/* A service shares run/lock with the others, so that nothing is prepared while it runs. */}}
{{- define "dure.beside" -}}
["python", "-P", "-m", "dure_hub.supervisor.beside"
{{- end }}

{{/* The command of each container; call with the container's name. */}}
{{- define "dure.command" -}}
{{- if eq . "hub" -}}
{{ include "dure.beside" . }}, "python", "-m", "dure_hub.supervisor.hub_server"]
{{- else if eq . "portal" -}}
{{ include "dure.beside" . }}, "python", "-m", "dure_hub.app"]
{{- else if eq . "mlflow" -}}
{{ include "dure.beside" . }}, "python", "-m", "dure_hub.supervisor.mlflow_server"]
{{- else if eq . "voila" -}}
{{ include "dure.beside" . }}, "python", "-m", "dure_hub.supervisor.voila_server"]
{{- else if eq . "envoy" -}}
["dure", "dataplane", "bootstrap", "--exec"]
{{- end }}
{{- end }}

{{/* Whether a container is ready. */}}
{{- define "dure.ready" -}}
{{- if eq . "hub" -}}
httpGet: {path: /hub/api/, port: hub}
{{- else if eq . "portal" -}}
httpGet: {path: /services/dure/health, port: portal}
{{- else if eq . "envoy" -}}
httpGet: {path: /ready, port: statistics}
{{- else -}}
tcpSocket: {port: {{ . }}}
{{- end }}
{{- end }}

{{/* Settings that the chart decides, as the environment of every process of the portal. */}}
{{- define "dure.settings" -}}
{{- $ports := include "dure.ports" . | fromYaml -}}
DURE_DATA: {{ include "dure.data" . }}
DURE_BACKEND: kubernetes
DURE_NAMESPACE_DEV: {{ .Values.namespaces.dev }}
DURE_NAMESPACE_TRAINING: {{ .Values.namespaces.training }}
DURE_NAMESPACE_SERVING: {{ .Values.namespaces.serving }}
DURE_SERVER_IMAGE: {{ include "dure.image" (list . .Values.images.singleuser) }}
DURE_IMAGE_PULL_POLICY: {{ .Values.images.pullPolicy }}
DURE_IMAGE_PULL_SECRETS: {{ .Values.images.pullSecrets | toJson | quote }}
DURE_USE_GPU: {{ .Values.useGpu | quote }}
DURE_HOME_SIZE_GB: {{ .Values.home.sizeGb | quote }}
DURE_STORAGE_CLASS: {{ .Values.home.storageClass | quote }}
DURE_HOST: "0.0.0.0"
DURE_INSECURE_HTTP: "true"
DURE_PORT: {{ $ports.envoy | quote }}
DURE_HUB_PORT: {{ $ports.hub | quote }}
DURE_PORTAL_PORT: {{ $ports.portal | quote }}
DURE_MLFLOW_PORT: {{ $ports.mlflow | quote }}
DURE_VOILA_PORT: {{ $ports.voila | quote }}
DURE_PORTAL_HOST: dure-portal.{{ .Values.namespaces.platform }}.svc
DURE_XDS_PORT: {{ $ports.xds | quote }}
DURE_XDS_TOKEN_FILE: {{ include "dure.data" . }}/secrets/envoy-token
DURE_INSIDE_URL: {{ include "dure.inside" . }}
DURE_PODS_URL: {{ include "dure.inside" . }}
DURE_PUBLIC_URL: {{ .Values.publicUrl | quote }}
DURE_SYSTEM_ACCOUNTS: "off"
DURE_KUEUE_APPLY_S: {{ .Values.kueue.applySeconds | quote }}
{{- with include "dure.databaseUrl" . }}
DURE_DATABASE_URL: {{ . | quote }}
DURE_DATABASE_PASSWORD_FILE: {{ include "dure.data" $ }}/secrets/database-password
{{- end }}
{{- end }}

{{/* Envoy from within the cluster: at the front port an Ingress is believed who it speaks for, and here nobody. */}}
{{- define "dure.inside" -}}
{{- $ports := include "dure.ports" . | fromYaml -}}
http://dure-inside.{{ .Values.namespaces.platform }}.svc:{{ $ports.inside }}
{{- end }}

{{/* How Envoy is told where the portal is. */}}
{{- define "dure.envoyArguments" -}}
{{- $ports := include "dure.ports" . | fromYaml -}}
["--xds", "dure-portal.{{ .Values.namespaces.platform }}.svc:{{ $ports.xds }}", "--token-file", "/etc/dure/envoy/password", "--folder", "/tmp/envoy", "--listen", "0.0.0.0:{{ $ports.envoy }}", "--inside", "0.0.0.0:{{ $ports.inside }}", "--statistics", "0.0.0.0:{{ $ports.statistics }}"{{ if .Values.publicUrl }}, "--behind-proxy"{{ end }}]
{{- end }}
